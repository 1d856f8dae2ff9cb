//! TokenReview and SelfSubjectReview.
//!
//! Upstream: pkg/registry/authentication/{tokenreview,selfsubjectreview}. Pure: the handler
//! decodes and encodes.

use api::status::Status;
use api::user::UserInfo;
use api::value::{Map, Value};
use jiff::Timestamp;

use super::Authenticator;

/// Answers a TokenReview: whose token it is, and for which of the audiences asked for.
///
/// # Errors
/// 400 without a token.
pub fn token_review(mut review: Value, authenticator: &Authenticator, now: Timestamp) -> Result<Value, Status> {
    let token = review.str_at("spec.token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked = review.array_at("spec.audiences").iter().filter_map(Value::as_str).map(String::from);
    let mut status = Map::new();
    match authenticator.token(token, &asked.collect::<Vec<_>>(), now) {
        Ok(found) => {
            status.insert("authenticated", true);
            status.insert("user", user_info(&found.user));
            if !found.audiences.is_empty() {
                status.insert("audiences", found.audiences.to_vec());
            }
        }
        Err(error) => {
            status.insert("user", Map::new());
            status.insert("error", error);
        }
    }
    review.set("status", status);
    Ok(review)
}

/// Answers a SelfSubjectReview: who the caller is.
pub fn self_subject_review(mut review: Value, user: &UserInfo, now: Timestamp) -> Value {
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let mut metadata = Map::new();
    metadata.insert("creationTimestamp", second.to_string());
    review.set("metadata", metadata);
    let mut status = Map::new();
    status.insert("userInfo", user_info(user));
    review.set("status", status);
    review
}

/// A user as reviews and admission reviews show it.
pub fn user_info(user: &UserInfo) -> Map {
    let mut info = Map::new();
    if !user.name.is_empty() {
        info.insert("username", user.name.as_str());
    }
    if !user.uid.is_empty() {
        info.insert("uid", user.uid.as_str());
    }
    if !user.groups.is_empty() {
        info.insert("groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        let extra: Map = user.extra.iter().map(|(key, values)| (key.as_str(), values.clone())).collect();
        info.insert("extra", extra);
    }
    info
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::authn::token_file::TokenFile;
    use crate::authn::{NoObjects, Settings};
    use crate::testing::parse;

    #[test]
    fn reviews() {
        let settings = Settings {
            token_file: Some(TokenFile::parse("f", "secret,bob,7,dev").unwrap()),
            api_audiences: vec!["https://api".into()],
            ..Settings::default()
        };
        let authenticator = Authenticator::new(settings, Arc::new(NoObjects));
        let review = |text: &str| token_review(parse(text).unwrap(), &authenticator, Timestamp::UNIX_EPOCH);
        let good = review(r#"{"kind":"TokenReview","spec":{"token":"secret"}}"#).unwrap();
        let expected = r#"{"authenticated":true,"user":{"username":"bob","uid":"7","groups":["dev","system:authenticated"]},"audiences":["https://api"]}"#;
        assert_eq!(*good.at("status"), parse(expected).unwrap());
        let bad = review(r#"{"spec":{"token":"other"}}"#).unwrap();
        assert_eq!(*bad.at("status"), parse(r#"{"user":{},"error":"invalid bearer token"}"#).unwrap());
        let elsewhere = review(r#"{"spec":{"token":"secret","audiences":["other"]}}"#).unwrap();
        assert!(elsewhere.at("status.authenticated").is_null());
        assert_eq!(review(r#"{"spec":{}}"#).unwrap_err().code, 400);
        let user = UserInfo::authenticated("bob", &["dev"]);
        let own = self_subject_review(parse(r#"{"kind":"SelfSubjectReview"}"#).unwrap(), &user, Timestamp::UNIX_EPOCH);
        assert_eq!(own.str_at("status.userInfo.username"), "bob");
        assert_eq!(own.str_at("metadata.creationTimestamp"), "1970-01-01T00:00:00Z");
    }
}
