//! Version 3: `Document` of gnostic's `openapiv3/OpenAPIv3.proto`.

use super::{Message, NONE, Shape, TEXTS};

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        ("openapi", 1, Shape::Scalar),
        ("info", 2, Shape::Message(&INFO)),
        ("paths", 4, Shape::Message(&PATHS)),
        ("components", 5, Shape::Message(&COMPONENTS)),
    ],
    extensions: 9,
    others: None,
};
static INFO: Message =
    Message { fields: &[("title", 1, Shape::Scalar), ("version", 6, Shape::Scalar)], extensions: 7, others: None };
static COMPONENTS: Message = Message {
    fields: &[("schemas", 1, Shape::Message(&SCHEMAS)), ("securitySchemes", 7, Shape::Message(&SECURITY_SCHEMES))],
    extensions: 10,
    others: None,
};
static PATHS: Message = Message { fields: NONE, extensions: 2, others: Some((1, Shape::Message(&PATH_ITEM))) };
static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 4, Shape::Message(&OPERATION)),
        ("put", 5, Shape::Message(&OPERATION)),
        ("post", 6, Shape::Message(&OPERATION)),
        ("delete", 7, Shape::Message(&OPERATION)),
        ("options", 8, Shape::Message(&OPERATION)),
        ("head", 9, Shape::Message(&OPERATION)),
        ("patch", 10, Shape::Message(&OPERATION)),
        ("parameters", 13, Shape::Each(&A_PARAMETER)),
    ],
    extensions: 14,
    others: None,
};
static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, TEXTS),
        ("description", 3, Shape::Scalar),
        ("operationId", 5, Shape::Scalar),
        ("parameters", 6, Shape::Each(&A_PARAMETER)),
        ("requestBody", 7, Shape::OrReference(&Shape::Message(&REQUEST_BODY), &REFERENCE)),
        ("responses", 8, Shape::Message(&RESPONSES)),
    ],
    extensions: 13,
    others: None,
};
static PARAMETER: Message = Message {
    fields: &[
        ("name", 1, Shape::Scalar),
        ("in", 2, Shape::Scalar),
        ("description", 3, Shape::Scalar),
        ("required", 4, Shape::Scalar),
        ("schema", 10, Shape::OrReference(&A_SCHEMA, &REFERENCE)),
    ],
    extensions: 14,
    others: None,
};
static REQUEST_BODY: Message = Message {
    fields: &[
        ("description", 1, Shape::Scalar),
        ("content", 2, Shape::Message(&MEDIA_TYPES)),
        ("required", 3, Shape::Scalar),
    ],
    extensions: 4,
    others: None,
};
static RESPONSES: Message = Message {
    fields: NONE,
    extensions: 3,
    others: Some((2, Shape::OrReference(&Shape::Message(&RESPONSE), &REFERENCE))),
};
static RESPONSE: Message = Message {
    fields: &[("description", 1, Shape::Scalar), ("content", 3, Shape::Message(&MEDIA_TYPES))],
    extensions: 5,
    others: None,
};
static MEDIA_TYPES: Message = Message { fields: NONE, extensions: 0, others: Some((1, Shape::Message(&MEDIA_TYPE))) };
static MEDIA_TYPE: Message =
    Message { fields: &[("schema", 1, Shape::OrReference(&A_SCHEMA, &REFERENCE))], extensions: 5, others: None };
static SCHEMAS: Message =
    Message { fields: NONE, extensions: 0, others: Some((1, Shape::OrReference(&A_SCHEMA, &REFERENCE))) };
static SCHEMA: Message = Message {
    fields: &[
        ("nullable", 1, Shape::Scalar),
        ("uniqueItems", 20, Shape::Scalar),
        ("required", 23, TEXTS),
        ("enum", 24, Shape::Each(&Shape::Any)),
        ("type", 25, Shape::Scalar),
        ("allOf", 26, Shape::Each(&SCHEMA_OR_REFERENCE)),
        ("oneOf", 27, Shape::Each(&SCHEMA_OR_REFERENCE)),
        ("anyOf", 28, Shape::Each(&SCHEMA_OR_REFERENCE)),
        ("items", 30, Shape::In(&[1], &SCHEMA_OR_REFERENCE)),
        ("properties", 31, Shape::Message(&SCHEMAS)),
        ("additionalProperties", 32, Shape::OrFlag(&SCHEMA_OR_REFERENCE)),
        ("default", 33, Shape::Default),
        ("description", 34, Shape::Scalar),
        ("format", 35, Shape::Scalar),
    ],
    extensions: 36,
    others: None,
};
static SECURITY_SCHEMES: Message = Message {
    fields: NONE,
    extensions: 0,
    others: Some((1, Shape::OrReference(&Shape::Message(&SECURITY_SCHEME), &REFERENCE))),
};
static SECURITY_SCHEME: Message = Message {
    fields: &[
        ("type", 1, Shape::Scalar),
        ("description", 2, Shape::Scalar),
        ("name", 3, Shape::Scalar),
        ("in", 4, Shape::Scalar),
    ],
    extensions: 9,
    others: None,
};
static REFERENCE: Message = Message { fields: &[("$ref", 1, Shape::Scalar)], extensions: 0, others: None };

/// What stands within other messages.
static A_SCHEMA: Shape = Shape::Message(&SCHEMA);
static SCHEMA_OR_REFERENCE: Shape = Shape::OrReference(&A_SCHEMA, &REFERENCE);
static A_PARAMETER: Shape = Shape::OrReference(&Shape::Message(&PARAMETER), &REFERENCE);
