//! What an authorizer is asked.

use api::user::UserInfo;

/// One question: may this user do that? Borrowed from the request, nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub user: &'a UserInfo,
    /// `get`, `list`, `watch`, `create`, …; for other paths the HTTP method in lower case.
    pub verb: &'a str,
    /// Set for requests to API resources; then `path` does not count, else only `path` does.
    pub is_resource: bool,
    pub namespace: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// The object's name, empty for collections (a single-name field selector gives one to lists and watches).
    pub name: &'a str,
    pub path: &'a str,
    /// Parsed `fieldSelector` of a list, watch or deletecollection.
    pub field_selector: &'a [FieldRequirement],
    /// Parsed `labelSelector` of a list, watch or deletecollection.
    pub label_selector: &'a [LabelRequirement],
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub field: String,
    /// `=` or `==`; otherwise `!=`.
    pub equals: bool,
    pub value: String,
}

/// One term of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequirement {
    pub key: String,
    pub operator: LabelOperator,
    pub values: Vec<String>,
}

/// How a label is compared. `=`, `==` and `!=` are sets of one value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// A question about a resource; the caller fills in the other fields it needs.
    pub fn resource(user: &'a UserInfo, verb: &'a str, group: &'a str, resource: &'a str) -> Attributes<'a> {
        Attributes { is_resource: true, group, version: "*", resource, ..Attributes::path(user, verb, "") }
    }

    /// A question about a path outside the API.
    pub fn path(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Attributes<'a> {
        Attributes {
            user,
            verb,
            is_resource: false,
            namespace: "",
            group: "",
            version: "",
            resource: "",
            subresource: "",
            name: "",
            path,
            field_selector: &[],
            label_selector: &[],
        }
    }

    /// The field selector holds this very `field=value`.
    pub fn selects_field(&self, field: &str, value: &str) -> bool {
        self.field_selector.iter().any(|term| term.equals && term.field == field && term.value == value)
    }
}
