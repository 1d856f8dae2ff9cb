//! Events: core/v1, as which they are stored, and events.k8s.io/v1.

use crate::value::Value;

/// Each field's name in core/v1 and in events.k8s.io/v1.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

pub fn to_events(event: &mut Value) {
    for (core, events) in RENAMED {
        rename(event, core, events);
    }
}

pub fn to_core(event: &mut Value) {
    for (core, events) in RENAMED {
        rename(event, events, core);
    }
}

fn rename(event: &mut Value, from: &str, to: &'static str) {
    let Some(fields) = event.as_object_mut() else { return };
    // What the target may hold is no field of the version that the event comes from.
    fields.remove(to);
    if let Some((key, _)) = fields.entries_mut().iter_mut().find(|(key, _)| key == from) {
        *key = to.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::codec::json as codec;
    use crate::kinds::convert::convert;
    use crate::kinds::testing::tree;

    #[test]
    fn events_keep_everything_both_ways() {
        let text = r#"{"kind":"Event","apiVersion":"v1","metadata":{"name":"e","namespace":"n"},"involvedObject":{"kind":"Pod","name":"p"},"reason":"Started","message":"m","source":{"component":"kubelet"},"firstTimestamp":"2026-01-01T00:00:00Z","lastTimestamp":null,"count":2,"type":"Normal","eventTime":null,"reportingComponent":"","reportingInstance":"i"}"#;
        let mut event = codec::parse(text.as_bytes()).unwrap();
        convert(&mut event, ("", "v1"), ("events.k8s.io", "v1"), "Event").unwrap();
        assert_eq!(
            String::from_utf8(codec::to_vec(&event)).unwrap(),
            r#"{"kind":"Event","apiVersion":"events.k8s.io/v1","metadata":{"name":"e","namespace":"n"},"eventTime":null,"reportingInstance":"i","reason":"Started","regarding":{"kind":"Pod","name":"p"},"note":"m","type":"Normal","deprecatedSource":{"component":"kubelet"},"deprecatedFirstTimestamp":"2026-01-01T00:00:00Z","deprecatedLastTimestamp":null,"deprecatedCount":2}"#
        );
        convert(&mut event, ("events.k8s.io", "v1"), ("", "v1"), "Event").unwrap();
        assert_eq!(String::from_utf8(codec::to_vec(&event)).unwrap(), text);
    }

    #[test]
    fn lists_convert_by_item() {
        let mut list = tree(json!({"kind": "EventList", "apiVersion": "v1", "items": [{"message": "m"}]}));
        convert(&mut list, ("", "v1"), ("events.k8s.io", "v1"), "EventList").unwrap();
        assert_eq!(list.str_at("apiVersion"), "events.k8s.io/v1");
        assert_eq!(list.array_at("items")[0].str_at("note"), "m");
    }
}
