//! Which objects a list, watch or deletecollection is about.

use api::selector::{FieldSelector, LabelSelector, Operator};
use api::status::Status;
use store::{Record, Scope};

use crate::authz::{FieldRequirement, LabelOperator, LabelRequirement};
use crate::context::Context;
use crate::request::options::ListOptions;
use crate::served::Served;

/// Namespace, name and selectors of one request.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Empty: all namespaces.
    namespace: String,
    /// A selector for one name makes it a read of one key.
    name: String,
    labels: LabelSelector,
    fields: FieldSelector,
}

/// The field by which the store files watchers of pods.
pub const FILED_FIELD: &str = "spec.nodeName";

// === impl Selection ===

impl Selection {
    /// # Errors
    /// 400 for a selector that can't be read or names a field that the kind does not select by.
    pub fn parse(context: &Context, served: &Served, options: &ListOptions) -> Result<Selection, Status> {
        let labels = LabelSelector::parse(&options.label_selector).map_err(|why| unable(&why))?;
        let mut fields = FieldSelector::parse(&options.field_selector).map_err(|why| unable(&why))?;
        for term in fields.requirements_mut() {
            match served.rules().selected_by(&term.field) {
                Some(name) => term.field = name.into(),
                None => return Err(Status::bad_request(unknown_field(served, &term.field))),
            }
        }
        let info = &context.info;
        let mut namespace = info.namespace.clone();
        if namespace.is_empty()
            && served.namespaced()
            && let Some(single) = fields.requires("metadata.namespace")
        {
            namespace = single.to_owned();
        }
        // Watches of one object by its path come here with a name.
        if !info.name.is_empty() {
            match fields.requires("metadata.name") {
                None if fields.is_empty() => fields = FieldSelector::equals("metadata.name", info.name.as_str()),
                Some(name) if name == info.name => {}
                _ => {
                    let why = "fieldSelector metadata.name doesn't match requested name";
                    return Err(Status::bad_request(why));
                }
            }
        }
        let name = fields.requires("metadata.name").unwrap_or_default().to_owned();
        if served.plural() == "namespaces" && served.group().is_empty() {
            namespace.clear();
        }
        Ok(Selection { namespace, name, labels, fields })
    }

    /// Whether no selector narrows the namespace.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Reads the index record only.
    pub fn matches(&self, record: &Record) -> bool {
        (self.namespace.is_empty() || record.namespace() == self.namespace)
            && self.labels.matches(|key| record.label(key))
            && self.fields.matches(|field| match field {
                "metadata.name" => Some(record.name()),
                "metadata.namespace" => Some(record.namespace()),
                other => record.field(other),
            })
    }

    /// The same for something that has nothing but a name.
    pub fn matches_bare(&self, own: &str) -> bool {
        self.labels.matches(|_| None)
            && self.fields.matches(|field| match field {
                "metadata.name" => Some(own),
                _ => Some(""),
            })
    }

    /// The keys to look at all begin with this.
    pub fn key_root(&self, served: &Served) -> String {
        match (served.namespaced(), self.namespace.is_empty()) {
            (true, false) => format!("{}{}/", served.prefix(), self.namespace),
            _ => served.prefix().to_owned(),
        }
    }

    /// The one key this is about, where name and namespace are both given.
    pub fn single_key(&self, served: &Served) -> Option<String> {
        let whole = !self.name.is_empty() && (!served.namespaced() || !self.namespace.is_empty());
        whole.then(|| served.key(&self.namespace, &self.name))
    }

    /// Where the store files a watcher with this selection.
    pub fn scope(&self) -> Scope {
        let given = |text: &str| (!text.is_empty()).then(|| text.into());
        Scope {
            namespace: given(&self.namespace),
            name: given(&self.name),
            field: self.fields.requires(FILED_FIELD).map(|value| (FILED_FIELD.into(), value.into())),
        }
    }

    /// The selectors as authorizers read them.
    pub fn requirements(&self) -> (Vec<LabelRequirement>, Vec<FieldRequirement>) {
        let labels = self.labels.requirements().iter().map(|one| LabelRequirement {
            key: one.key.to_string(),
            operator: match one.operator {
                Operator::In | Operator::Equals | Operator::DoubleEquals => LabelOperator::In,
                Operator::NotIn | Operator::NotEquals => LabelOperator::NotIn,
                Operator::Exists => LabelOperator::Exists,
                Operator::DoesNotExist => LabelOperator::DoesNotExist,
                Operator::GreaterThan => LabelOperator::GreaterThan,
                Operator::LessThan => LabelOperator::LessThan,
            },
            values: one.values.iter().map(ToString::to_string).collect(),
        });
        let fields = self.fields.requirements().iter().map(|one| FieldRequirement {
            field: one.field.to_string(),
            equals: !one.not,
            value: one.value.to_string(),
        });
        (labels.collect(), fields.collect())
    }
}

fn unable(why: &dyn std::fmt::Display) -> Status {
    Status::bad_request(why.to_string())
}

/// Upstream's words differ by group: core kinds have conversion functions that say so.
fn unknown_field(served: &Served, field: &str) -> String {
    if served.rules().selectable.is_empty() {
        return format!("\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    }
    match (served.group(), served.kind()) {
        ("batch", "Job") => format!("field label \"{field}\" not supported for Job"),
        (group @ "resource.k8s.io", kind @ "ResourceSlice") => {
            format!("field label not supported for {group}/{}, Kind={kind}: {field}", served.version())
        }
        _ => format!("field label not supported: {field}"),
    }
}
