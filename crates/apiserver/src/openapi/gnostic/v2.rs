//! Version 2: `Document` of gnostic's `openapiv2/OpenAPIv2.proto`.

use super::{Message, NONE, Shape, TEXTS};

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Shape::Scalar),
        ("info", 2, Shape::Message(&INFO)),
        ("paths", 8, Shape::Message(&PATHS)),
        ("definitions", 9, Shape::Message(&SCHEMAS)),
        ("parameters", 10, Shape::Message(&PARAMETERS)),
        ("security", 12, Shape::Each(&A_SECURITY)),
        ("securityDefinitions", 13, Shape::Message(&SECURITY_SCHEMES)),
    ],
    extensions: 16,
    others: None,
};
static INFO: Message =
    Message { fields: &[("title", 1, Shape::Scalar), ("version", 2, Shape::Scalar)], extensions: 7, others: None };
static PATHS: Message = Message { fields: NONE, extensions: 1, others: Some((2, Shape::Message(&PATH_ITEM))) };
static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Shape::Message(&OPERATION)),
        ("put", 3, Shape::Message(&OPERATION)),
        ("post", 4, Shape::Message(&OPERATION)),
        ("delete", 5, Shape::Message(&OPERATION)),
        ("options", 6, Shape::Message(&OPERATION)),
        ("head", 7, Shape::Message(&OPERATION)),
        ("patch", 8, Shape::Message(&OPERATION)),
        ("parameters", 9, Shape::Each(&A_PARAMETER)),
    ],
    extensions: 10,
    others: None,
};
static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, TEXTS),
        ("description", 3, Shape::Scalar),
        ("operationId", 5, Shape::Scalar),
        ("produces", 6, TEXTS),
        ("consumes", 7, TEXTS),
        ("parameters", 8, Shape::Each(&A_PARAMETER)),
        ("responses", 9, Shape::Message(&RESPONSES)),
        ("schemes", 10, TEXTS),
    ],
    extensions: 13,
    others: None,
};
/// A response is a choice between it and a reference.
static RESPONSES: Message = Message { fields: NONE, extensions: 2, others: Some((1, Shape::In(&[1], &A_RESPONSE))) };
static RESPONSE: Message = Message {
    fields: &[("description", 1, Shape::Scalar), ("schema", 2, Shape::In(&[1], &A_SCHEMA))],
    extensions: 5,
    others: None,
};
/// Parameters that are referred to.
static PARAMETERS: Message =
    Message { fields: NONE, extensions: 0, others: Some((1, Shape::Choice("in", &KINDS_OF_PARAMETERS))) };
/// Path and query parameters have the same fields up to here but one number.
static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Shape::Scalar),
        ("in", 2, Shape::Scalar),
        ("description", 3, Shape::Scalar),
        ("name", 4, Shape::Scalar),
        ("type", 5, Shape::Scalar),
        ("uniqueItems", 19, Shape::Scalar),
    ],
    extensions: 22,
    others: None,
};
static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Shape::Scalar),
        ("in", 2, Shape::Scalar),
        ("description", 3, Shape::Scalar),
        ("name", 4, Shape::Scalar),
        ("type", 6, Shape::Scalar),
        ("uniqueItems", 20, Shape::Scalar),
    ],
    extensions: 23,
    others: None,
};
static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Shape::Scalar),
        ("name", 2, Shape::Scalar),
        ("in", 3, Shape::Scalar),
        ("required", 4, Shape::Scalar),
        ("schema", 5, Shape::Message(&SCHEMA)),
    ],
    extensions: 6,
    others: None,
};
static SCHEMAS: Message = Message { fields: NONE, extensions: 0, others: Some((1, Shape::Message(&SCHEMA))) };
static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Shape::Scalar),
        ("format", 2, Shape::Scalar),
        ("description", 4, Shape::Scalar),
        ("default", 5, Shape::Any),
        ("required", 19, TEXTS),
        ("enum", 20, Shape::Each(&Shape::Any)),
        ("additionalProperties", 21, Shape::OrFlag(&A_SCHEMA)),
        ("type", 22, Shape::In(&[1], &Shape::Scalar)),
        ("items", 23, Shape::In(&[1], &A_SCHEMA)),
        ("allOf", 24, Shape::Each(&A_SCHEMA)),
        ("properties", 25, Shape::Message(&SCHEMAS)),
    ],
    extensions: 31,
    others: None,
};
static SECURITY: Message = Message { fields: NONE, extensions: 0, others: Some((1, Shape::Texts)) };
/// Of the kinds of schemes, keys.
static SECURITY_SCHEMES: Message =
    Message { fields: NONE, extensions: 0, others: Some((1, Shape::In(&[2], &Shape::Message(&KEY)))) };
static KEY: Message = Message {
    fields: &[
        ("type", 1, Shape::Scalar),
        ("name", 2, Shape::Scalar),
        ("in", 3, Shape::Scalar),
        ("description", 4, Shape::Scalar),
    ],
    extensions: 5,
    others: None,
};
static REFERENCE: Message = Message { fields: &[("$ref", 1, Shape::Scalar)], extensions: 0, others: None };

/// What stands within other messages.
static A_SCHEMA: Shape = Shape::Message(&SCHEMA);
static A_RESPONSE: Shape = Shape::Message(&RESPONSE);
static A_SECURITY: Shape = Shape::Message(&SECURITY);
/// A parameter's own choice stands within the choice between it and a reference.
static A_PARAMETER: Shape = Shape::OrReference(&Shape::Choice("in", &KINDS_OF_PARAMETERS), &REFERENCE);
static KINDS_OF_PARAMETERS: [(&str, Shape); 3] = [
    ("body", Shape::In(&[1], &Shape::Message(&BODY_PARAMETER))),
    ("path", Shape::In(&[2, 4], &Shape::Message(&PATH_PARAMETER))),
    ("query", Shape::In(&[2, 3], &Shape::Message(&QUERY_PARAMETER))),
];
