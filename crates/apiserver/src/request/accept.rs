//! How a client wants its answer: encoding and form, from the `Accept` header.
//!
//! Upstream: `k8s.io/apiserver/pkg/endpoints/handlers/negotiation`.

use api::status::{Details, Status};

/// A wire encoding of API objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    #[default]
    Json,
    Yaml,
    Protobuf,
}

/// What the answer is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The objects themselves.
    #[default]
    Object,
    /// `meta.k8s.io/v1 Table`: the columns that `kubectl get` prints.
    Table,
    /// `PartialObjectMetadata` or its list.
    Metadata,
}

/// The negotiated answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub encoding: Encoding,
    pub form: Form,
    /// `pretty=1`, or a browser's or curl's `?pretty`.
    pub pretty: bool,
    /// Where partial metadata was asked for: whether as a list's.
    pub of_list: Option<bool>,
}

const MEDIA_TYPES: [(&str, Encoding); 3] = [
    ("application/json", Encoding::Json),
    ("application/yaml", Encoding::Yaml),
    ("application/vnd.kubernetes.protobuf", Encoding::Protobuf),
];

/// What upstream's router names besides where a list may be watched.
const STREAM_MEDIA_TYPES: &str = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// The longest list of alternatives that is looked at; browsers send about ten.
const CLAUSES_MAX: usize = 64;

// === impl Encoding ===

impl Encoding {
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// The `Content-Type` of a watch in this encoding.
    pub fn stream_media_type(self) -> &'static str {
        match self {
            Encoding::Json | Encoding::Yaml => "application/json",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }

    /// The encoding of a request's body.
    ///
    /// # Errors
    /// 415 where the header names none that is known.
    pub fn of_body(content_type: Option<&str>) -> Result<Encoding, Status> {
        let Some(header) = content_type.filter(|header| !header.trim().is_empty()) else {
            return Ok(Encoding::Json);
        };
        let name = header.split(';').next().unwrap_or_default().trim();
        MEDIA_TYPES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, encoding)| *encoding)
            .ok_or_else(|| {
                Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types include: {}",
                    media_types()
                ))
            })
    }
}

// === impl Accept ===

impl Accept {
    /// Takes the best clause of an `Accept` header that the server can serve. `streams` says whether watches are answered
    /// there too.
    ///
    /// # Errors
    /// 406 where there is none.
    pub fn negotiate(header: Option<&str>, pretty: bool, streams: bool) -> Result<Accept, Status> {
        Accept::best(header, pretty, streams, |_| true)
    }

    /// Like [`Accept::negotiate`], where there are no tables and no partial metadata (discovery, reviews,
    /// subresources): clauses that ask for them are passed over.
    ///
    /// # Errors
    /// 406 where nothing else is asked for.
    pub fn negotiate_plain(header: Option<&str>, pretty: bool, streams: bool) -> Result<Accept, Status> {
        Accept::best(header, pretty, streams, |accept| accept.form == Form::Object)
    }

    fn best(
        header: Option<&str>,
        pretty: bool,
        streams: bool,
        is_served: fn(&Accept) -> bool,
    ) -> Result<Accept, Status> {
        let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
            return Ok(Accept { pretty, ..Accept::default() });
        };
        let mut clauses: Vec<Clause<'_>> = header.split(',').take(CLAUSES_MAX).map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        clauses
            .iter()
            .filter_map(Clause::accept)
            .find(is_served)
            .map(|accept| Accept { pretty: pretty || accept.pretty, ..accept })
            .ok_or_else(|| match clauses.iter().any(|clause| clause.names_a_type()) {
                true => {
                    Status::not_acceptable(format!("only the following media types are accepted: {}", media_types()))
                }
                // Upstream's router has found no route for it.
                false => Status {
                    details: Some(Details::default()),
                    ..Status::not_acceptable(format!(
                        "406: Not Acceptable\n\nAvailable representations: {}{}",
                        media_types(),
                        if streams { STREAM_MEDIA_TYPES } else { "" }
                    ))
                },
            })
    }

    /// Refuses the partial metadata of a list for one object, and the other way round. `go_type` is what upstream
    /// calls the object.
    ///
    /// # Errors
    /// 406 in upstream's words.
    pub fn check_list(&self, is_list: bool, go_type: impl FnOnce() -> String) -> Result<(), Status> {
        match (self.of_list, is_list) {
            (Some(false), true) => Err(Status::not_acceptable(format!(
                "you requested PartialObjectMetadata, but the requested object is a list ({})",
                go_type()
            ))),
            (Some(true), false) => Err(Status::not_acceptable(format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
                go_type()
            ))),
            _ => Ok(()),
        }
    }
}

/// One alternative of an `Accept` header.
struct Clause<'h> {
    media_type: &'h str,
    parameters: Vec<(&'h str, &'h str)>,
    quality: f32,
}

// === impl Clause ===

impl<'h> Clause<'h> {
    fn parse(text: &'h str) -> Clause<'h> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let mut parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse().ok()).unwrap_or(1.0);
        parameters.retain(|(key, _)| *key != "q");
        Clause { media_type, parameters, quality }
    }

    fn parameter(&self, name: &str) -> Option<&'h str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// Whether it names an encoding that the server has, in whatever form.
    fn names_a_type(&self) -> bool {
        self.media_type == "*/*" || MEDIA_TYPES.iter().any(|(known, _)| *known == self.media_type)
    }

    /// What this clause asks for, if the server has it.
    fn accept(&self) -> Option<Accept> {
        let encoding = match self.media_type {
            "*/*" | "application/*" => Encoding::Json,
            name => MEDIA_TYPES.iter().find(|(known, _)| *known == name)?.1,
        };
        if self.parameter("stream").is_some_and(|stream| stream != "watch") {
            return None;
        }
        let form = match (self.parameter("as"), self.parameter("g"), self.parameter("v")) {
            (None, None, None) => Form::Object,
            (Some("Table"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) => Form::Table,
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some("v1" | "v1beta1"),
            ) => Form::Metadata,
            _ => return None,
        };
        // Tables have no protobuf form upstream either: the client's next clause is taken.
        let served = !(form == Form::Table && encoding == Encoding::Protobuf);
        let of_list = (form == Form::Metadata).then(|| self.parameter("as") == Some("PartialObjectMetadataList"));
        served.then_some(Accept { encoding, form, pretty: self.parameter("pretty") == Some("1"), of_list })
    }
}

fn media_types() -> String {
    MEDIA_TYPES.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::kubectl_get(
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        Encoding::Json,
        Form::Table
    )]
    #[case::client_go("application/vnd.kubernetes.protobuf,application/json", Encoding::Protobuf, Form::Object)]
    #[case::metadata_informer(
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        Encoding::Protobuf,
        Form::Metadata
    )]
    #[case::browser("text/html,application/xhtml+xml,*/*;q=0.8", Encoding::Json, Form::Object)]
    #[case::quality("application/json;q=0.1,application/yaml;q=0.9", Encoding::Yaml, Form::Object)]
    fn negotiates(#[case] header: &str, #[case] encoding: Encoding, #[case] form: Form) {
        let accept = Accept::negotiate(Some(header), false, false).unwrap();
        assert_eq!((accept.encoding, accept.form), (encoding, form));
    }

    #[test]
    fn refuses_what_it_does_not_speak() {
        let refused = Accept::negotiate(Some("text/css"), false, false).unwrap_err();
        assert_eq!(refused.code, 406);
        assert!(refused.message.starts_with("406: Not Acceptable\n\nAvailable representations: application/json, "));
        let refused =
            Accept::negotiate(Some("application/json;as=Other;g=meta.k8s.io;v=v1"), false, false).unwrap_err();
        assert!(refused.message.starts_with("only the following media types are accepted: application/json"));
        let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let accept = Accept::negotiate(Some(partial), false, false).unwrap();
        let refused = accept.check_list(true, || "*core.PodList".to_owned()).unwrap_err();
        assert_eq!(
            refused.message,
            "you requested PartialObjectMetadata, but the requested object is a list (*core.PodList)"
        );
        assert!(accept.check_list(false, String::new).is_ok());
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(Accept::negotiate_plain(Some(table), false, false).unwrap_err().code, 406);
        let either = format!("{table},application/yaml");
        assert_eq!(Accept::negotiate_plain(Some(&either), false, false).unwrap().encoding, Encoding::Yaml);
        assert_eq!(Encoding::of_body(Some("text/plain")).unwrap_err().code, 415);
        assert_eq!(Encoding::of_body(Some("application/json; charset=utf-8")), Ok(Encoding::Json));
    }
}
