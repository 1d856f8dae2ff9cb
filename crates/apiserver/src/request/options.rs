//! The options of each verb: from the query, or for deletion also from the body; checked as
//! upstream checks them.
//!
//! Upstream: `apimachinery/pkg/apis/meta/v1/validation`, `…/internalversion/validation`.

use api::field::{FieldErrors, Path};
use api::status::Status;
use api::value::Value;

use super::query::Query;

/// A resource version as a number; 0 is "any".
pub type Revision = u64;

pub use api::decode::FieldValidation;

/// What create, update and patch have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// Only for apply patches: take fields over from other managers.
    pub force: Option<bool>,
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Exact,
    NotOlderThan,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
    /// `None` where the client gave none: the newest state.
    pub resource_version: Option<Revision>,
    pub resource_version_match: Option<Match>,
    /// 0: no limit.
    pub limit: usize,
    pub continue_token: String,
    pub watch: bool,
    pub bookmarks: bool,
    pub send_initial_events: bool,
    pub timeout_seconds: Option<u64>,
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// `DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub propagation: Option<Propagation>,
    pub dry_run: bool,
}

/// Upstream's `FieldManagerMaxLength`.
const FIELD_MANAGER_BYTES_MAX: usize = 128;

// === impl WriteOptions ===

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions {
            dry_run: false,
            field_manager: String::new(),
            field_validation: FieldValidation::Warn,
            force: None,
        }
    }
}

impl WriteOptions {
    /// `kind` is the options' kind for error messages: `CreateOptions`, `UpdateOptions`, `PatchOptions`.
    ///
    /// # Errors
    /// 422 for values outside the known ones.
    pub fn parse(query: &Query, kind: &str) -> Result<WriteOptions, Status> {
        let mut errors = FieldErrors::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let field_manager = query.get("fieldManager").unwrap_or_default().to_owned();
        check_field_manager(&field_manager, &mut errors);
        let field_validation = match query.get("fieldValidation").unwrap_or_default() {
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.not_supported(&Path::new("fieldValidation"), other, &["", "Ignore", "Strict", "Warn"]);
                FieldValidation::Warn
            }
        };
        let options = WriteOptions { dry_run, field_manager, field_validation, force: query.optional_flag("force") };
        errors.into_result("meta.k8s.io", kind, "").map(|()| options)
    }

    /// The options of a patch: `force` belongs to apply, which in turn needs a manager.
    ///
    /// # Errors
    /// 422 as [`WriteOptions::parse`].
    pub fn parse_patch(query: &Query, apply: bool) -> Result<WriteOptions, Status> {
        let options = WriteOptions::parse(query, "PatchOptions")?;
        let mut errors = FieldErrors::new();
        if apply && options.field_manager.is_empty() {
            errors.required(&Path::new("fieldManager"), "is required for apply patch");
        }
        if !apply && options.force.is_some() {
            errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        }
        errors.into_result("meta.k8s.io", "PatchOptions", "").map(|()| options)
    }
}

fn dry_run<'q>(values: impl Iterator<Item = &'q str>, errors: &mut FieldErrors) -> bool {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|value| *value != "All") {
        errors.not_supported(
            &Path::new("dryRun"),
            values.iter().map(|v| Value::from(*v)).collect::<Vec<_>>(),
            &["All"],
        );
    }
    !values.is_empty()
}

fn check_field_manager(manager: &str, errors: &mut FieldErrors) {
    let path = Path::new("fieldManager");
    if manager.len() > FIELD_MANAGER_BYTES_MAX {
        errors.too_long(&path, FIELD_MANAGER_BYTES_MAX);
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| !api::field::is_printable(*c)) {
        errors.invalid(&path, manager, format!("invalid character U+{:04X} (at position {at})", u32::from(c)));
    }
}

// === impl ListOptions ===

impl ListOptions {
    /// # Errors
    /// 400 for text that is no number, 422 for combinations that mean nothing.
    pub fn parse(query: &Query) -> Result<ListOptions, Status> {
        let text = |name| query.get(name).unwrap_or_default();
        let watch = query.flag("watch");
        let version = text("resourceVersion");
        let mut initial = query.optional_flag("sendInitialEvents");
        let mut matching = text("resourceVersionMatch");
        // Old watches without a version begin with the state: the same as asking for it.
        if watch && initial.is_none() && matching.is_empty() && matches!(version, "" | "0") {
            initial = Some(true);
            matching = "NotOlderThan";
        }
        check_list_options(watch, version, matching, !text("continue").is_empty(), initial)?;
        let limit = query.integer("limit")?.unwrap_or_default();
        Ok(ListOptions {
            label_selector: text("labelSelector").to_owned(),
            field_selector: text("fieldSelector").to_owned(),
            resource_version: parse_revision(version).map_err(|why| match watch {
                true => unparsed_revision(why),
                false => Status::bad_request(format!("invalid resource version: {why}")),
            })?,
            resource_version_match: match matching {
                "Exact" => Some(Match::Exact),
                "NotOlderThan" => Some(Match::NotOlderThan),
                _ => None,
            },
            limit: usize::try_from(limit).unwrap_or_default(),
            continue_token: text("continue").to_owned(),
            watch,
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: initial == Some(true),
            timeout_seconds: query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()),
        })
    }
}

/// A `resourceVersion`: absent, or a number.
///
/// # Errors
/// Why it is none, in upstream's words.
pub fn parse_revision(text: &str) -> Result<Option<Revision>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let quoted = api::field::go_quote(text);
        format!("resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax")
    })
}

/// What gets and watches say of it: upstream gives this error no status of its own.
pub fn unparsed_revision(why: String) -> Status {
    Status::new(500, "", why)
}

fn check_list_options(
    watch: bool,
    version: &str,
    matching: &str,
    continues: bool,
    initial: Option<bool>,
) -> Result<(), Status> {
    let mut errors = FieldErrors::new();
    let path = Path::new("resourceVersionMatch");
    if watch {
        if initial.is_some() && matching != "NotOlderThan" {
            errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if !matching.is_empty() {
            if initial.is_none() {
                errors.forbidden(
                    &path,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            if matching != "NotOlderThan" {
                errors.not_supported(&path, matching, &["NotOlderThan"]);
            }
            if continues {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
        }
    } else {
        if !matching.is_empty() {
            if version.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if continues {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                errors.not_supported(&path, matching, &["Exact", "NotOlderThan", ""]);
            }
            if matching == "Exact" && version == "0" {
                errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
        if initial.is_some() {
            errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
    }
    errors.into_result("meta.k8s.io", "ListOptions", "")
}

// === impl DeleteOptions ===

impl DeleteOptions {
    /// From the body, if there was one, else from the query.
    ///
    /// # Errors
    /// 400 for text that is no number, 422 for unknown or contradictory values.
    pub fn parse(query: &Query, body: Option<&Value>) -> Result<DeleteOptions, Status> {
        let mut errors = FieldErrors::new();
        let (options, policy, orphan) = match body {
            Some(body) => DeleteOptions::of_body(body, &mut errors),
            None => DeleteOptions::of_query(query, &mut errors)?,
        };
        let path = Path::new("propagationPolicy");
        let propagation = match (policy.as_str(), orphan) {
            ("", None) => None,
            ("", Some(true)) => Some(Propagation::Orphan),
            ("", Some(false)) => Some(Propagation::Background),
            (_, Some(_)) => {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                errors.invalid(&path, policy.as_str(), why);
                None
            }
            ("Orphan", None) => Some(Propagation::Orphan),
            ("Background", None) => Some(Propagation::Background),
            ("Foreground", None) => Some(Propagation::Foreground),
            (other, None) => {
                errors.not_supported(&path, other, &["Foreground", "Background", "Orphan", "nil"]);
                None
            }
        };
        errors.into_result("meta.k8s.io", "DeleteOptions", "")?;
        Ok(DeleteOptions { propagation, ..options })
    }

    fn of_body(body: &Value, errors: &mut FieldErrors) -> (DeleteOptions, String, Option<bool>) {
        let text = |path: &str| body.at(path).as_str().map(str::to_owned);
        let dry = body.array_at("dryRun").iter().filter_map(Value::as_str);
        let options = DeleteOptions {
            grace_period_seconds: body.i64_at("gracePeriodSeconds"),
            uid: text("preconditions.uid"),
            resource_version: text("preconditions.resourceVersion"),
            propagation: None,
            dry_run: dry_run(dry, errors),
        };
        (options, text("propagationPolicy").unwrap_or_default(), body.at("orphanDependents").as_bool())
    }

    fn of_query(query: &Query, errors: &mut FieldErrors) -> Result<(DeleteOptions, String, Option<bool>), Status> {
        let options = DeleteOptions {
            grace_period_seconds: query.integer("gracePeriodSeconds")?,
            dry_run: dry_run(query.all("dryRun"), errors),
            ..DeleteOptions::default()
        };
        let policy = query.get("propagationPolicy").unwrap_or_default().to_owned();
        Ok((options, policy, query.optional_flag("orphanDependents")))
    }
}
