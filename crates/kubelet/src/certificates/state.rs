//! What is to be done for one certificate of a pod. Upstream's states, in pkg/kubelet/podcertificate, are these.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::{PodCertificateRequest, PodCertificateRequestStatus};

use super::Bundle;
use crate::objects::pem;

/// A request that was not seen for so long after it was made was deleted.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// A renewal is overdue so long after it was to begin.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing was asked for.
    #[default]
    Initial,
    /// The first request was made.
    Waiting(Pending),
    /// It is there.
    Issued(Issued),
    /// There will never be one: the words for it, its reason and its message.
    Refused(&'static str, String, String),
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The private key, PEM.
    pub key: String,
    /// The request's name.
    pub request: String,
    /// If it is not there then, it was deleted.
    pub abandon_at: Timestamp,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    bundle: Bundle,
    begin_refresh_at: Timestamp,
    not_after: Timestamp,
    told_overdue: bool,
    told_expired: bool,
    renewal: Option<Pending>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Make a request, and say so with [`State::asked`].
    Ask,
    /// Look again then, or with news of the request.
    Wait(Option<Timestamp>),
}

/// Warnings about the pod: reason and message.
pub type Warnings = Vec<(&'static str, String)>;

impl Pending {
    /// A request that was made then.
    pub fn new(key: String, request: String, created: Timestamp, jitter: SignedDuration) -> Self {
        let abandon_at = created.saturating_add(ABANDONED_AFTER + jitter).unwrap_or(Timestamp::MAX);
        Pending { key, request, abandon_at }
    }
}

impl State {
    /// The request whose news count.
    pub fn pending(&self) -> Option<&Pending> {
        match self {
            State::Waiting(pending) => Some(pending),
            State::Issued(issued) => issued.renewal.as_ref(),
            State::Initial | State::Refused(..) => None,
        }
    }

    /// A request was made.
    pub fn asked(&mut self, pending: Pending) {
        match self {
            State::Initial | State::Waiting(_) => *self = State::Waiting(pending),
            State::Issued(issued) => issued.renewal = Some(pending),
            State::Refused(..) => {}
        }
    }

    /// The key and the certificates.
    ///
    /// # Errors
    /// Why there are none.
    pub fn bundle(&self) -> Result<Bundle, String> {
        match self {
            State::Initial | State::Waiting(_) => Err("credential bundle is not issued yet".into()),
            State::Issued(issued) => Ok(issued.bundle.clone()),
            State::Refused(how, reason, message) => {
                Err(format!("PodCertificateRequest was permanently {how}: reason={reason:?} message={message:?}"))
            }
        }
    }

    /// Moves on with what is known of the pending request, and says what is to be done.
    pub fn step(
        &mut self,
        now: Timestamp,
        request: Option<&PodCertificateRequest>,
        jitter: SignedDuration,
    ) -> (Todo, Warnings) {
        let mut warnings = Warnings::new();
        if let Some(pending) = self.pending().cloned() {
            match request {
                Some(request) => self.learn(&pending, request, jitter, &mut warnings),
                None if now > pending.abandon_at => self.abandon(),
                None => {}
            }
        }
        let todo = match self {
            State::Initial => Todo::Ask,
            State::Waiting(pending) if request.is_none() => Todo::Wait(Some(pending.abandon_at)),
            State::Waiting(_) | State::Refused(..) => Todo::Wait(None),
            State::Issued(issued) => issued.step(now, request.is_some(), &mut warnings),
        };
        (todo, warnings)
    }

    fn abandon(&mut self) {
        match self {
            State::Issued(issued) => issued.renewal = None,
            state => *state = State::Initial,
        }
    }

    fn learn(
        &mut self,
        pending: &Pending,
        request: &PodCertificateRequest,
        jitter: SignedDuration,
        warnings: &mut Warnings,
    ) {
        let Some(status) = &request.status else { return };
        let conditions = status.conditions.iter().flatten();
        for condition in conditions {
            let (how, words) = match condition.type_.as_str() {
                "Denied" => ("denied", "was denied"),
                "Failed" => ("failed", "failed"),
                "Issued" => return *self = State::Issued(Issued::new(pending, status, jitter)),
                _ => continue,
            };
            let (reason, message) = (condition.reason.clone(), condition.message.clone());
            let (namespace, name) = (request.metadata.namespace.as_deref().unwrap_or_default(), &pending.request);
            let full =
                format!("PodCertificateRequest {namespace}/{name} {words}, reason={reason:?}, message={message:?}");
            // Upstream takes the condition's reason for the format of the message, and Go tells about it.
            warnings
                .push((if how == "denied" { "Denied" } else { "Failed" }, format!("{reason}%!(EXTRA string={full})")));
            return *self = State::Refused(how, reason, message);
        }
    }
}

impl Issued {
    fn new(pending: &Pending, status: &PodCertificateRequestStatus, jitter: SignedDuration) -> Self {
        // The API server sees to it that all of these are there.
        let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.as_ref().map_or(Timestamp::MAX, |time| time.0)
        };
        let chain = pem::chain(status.certificate_chain.as_deref().unwrap_or_default());
        Issued {
            bundle: Bundle { key: pending.key.clone(), chain },
            begin_refresh_at: time(&status.begin_refresh_at).saturating_add(jitter).unwrap_or(Timestamp::MAX),
            not_after: time(&status.not_after),
            told_overdue: false,
            told_expired: false,
            renewal: None,
        }
    }

    fn step(&mut self, now: Timestamp, is_known: bool, warnings: &mut Warnings) -> Todo {
        if now < self.begin_refresh_at {
            return Todo::Wait(Some(self.begin_refresh_at));
        }
        let overdue_at = self.begin_refresh_at.saturating_add(OVERDUE_AFTER).unwrap_or(Timestamp::MAX);
        if now > overdue_at && !self.told_overdue {
            warnings.push(("CertificateOverdueForRefresh", "PodCertificate refresh overdue".into()));
            self.told_overdue = true;
        }
        if now > self.not_after && !self.told_expired {
            warnings.push(("CertificateExpired", "PodCertificate expired".into()));
            self.told_expired = true;
        }
        let Some(renewal) = &self.renewal else { return Todo::Ask };
        let times = [
            (!self.told_overdue).then_some(overdue_at),
            (!self.told_expired).then_some(self.not_after),
            (!is_known).then_some(renewal.abandon_at),
        ];
        Todo::Wait(times.into_iter().flatten().min())
    }
}

/// What is added to times, so that not all pods ask together; up to 5 minutes, as upstream.
pub fn jitter(fraction: f64) -> SignedDuration {
    const MOST: Duration = Duration::from_secs(5 * 60);
    SignedDuration::try_from(MOST.mul_f64(fraction)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};

    use super::*;

    const NONE: SignedDuration = SignedDuration::ZERO;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn asked(state: &mut State, name: &str, minute: i64) {
        state.asked(Pending::new(format!("key of {name}"), name.into(), at(minute), NONE));
    }

    fn request(outcome: Option<&str>, refresh: i64, end: i64) -> PodCertificateRequest {
        let condition = |kind: &str| Condition {
            last_transition_time: Time(at(0)),
            message: "m".into(),
            observed_generation: None,
            reason: "R".into(),
            status: "True".into(),
            type_: kind.into(),
        };
        let status = PodCertificateRequestStatus {
            conditions: outcome.map(|kind| vec![condition(kind)]),
            begin_refresh_at: Some(Time(at(refresh))),
            not_after: Some(Time(at(end))),
            certificate_chain: Some(format!("text\n{}", pem::block("CERTIFICATE", b"c"))),
            ..PodCertificateRequestStatus::default()
        };
        let metadata = ObjectMeta { namespace: Some("n".into()), ..ObjectMeta::default() };
        PodCertificateRequest { metadata, status: Some(status), ..PodCertificateRequest::default() }
    }

    #[test]
    fn a_life() {
        let mut state = State::default();
        assert_eq!(state.step(at(0), None, NONE), (Todo::Ask, vec![]));
        asked(&mut state, "r1", 0);
        // Not seen yet, then seen but undecided.
        assert_eq!(state.step(at(1), None, NONE), (Todo::Wait(Some(at(10))), vec![]));
        assert_eq!(state.step(at(11), Some(&request(None, 0, 0)), NONE), (Todo::Wait(None), vec![]));
        assert_eq!(state.bundle().unwrap_err(), "credential bundle is not issued yet");
        let issued = request(Some("Issued"), 30, 60);
        assert_eq!(state.step(at(12), Some(&issued), SignedDuration::from_mins(2)), (Todo::Wait(Some(at(32))), vec![]));
        let bundle = Bundle { key: "key of r1".into(), chain: pem::block("CERTIFICATE", b"c") };
        assert_eq!(state.bundle().unwrap(), bundle);
        // Renewed, and in use until the new one is there.
        assert_eq!(state.step(at(32), None, NONE), (Todo::Ask, vec![]));
        asked(&mut state, "r2", 32);
        assert_eq!(state.step(at(32), Some(&request(None, 0, 0)), NONE), (Todo::Wait(Some(at(42))), vec![]));
        let overdue = ("CertificateOverdueForRefresh", "PodCertificate refresh overdue".to_owned());
        assert_eq!(state.step(at(43), Some(&request(None, 0, 0)), NONE), (Todo::Wait(Some(at(60))), vec![overdue]));
        let expired = ("CertificateExpired", "PodCertificate expired".to_owned());
        assert_eq!(state.step(at(61), Some(&request(None, 0, 0)), NONE), (Todo::Wait(None), vec![expired]));
        assert_eq!(state.bundle().unwrap(), bundle);
        state.step(at(62), Some(&request(Some("Issued"), 90, 120)), NONE);
        assert_eq!(state.bundle().unwrap().key, "key of r2");
    }

    #[test]
    fn a_request_that_was_deleted_is_made_again() {
        let mut state = State::default();
        asked(&mut state, "r1", 0);
        assert_eq!(state.step(at(11), None, NONE), (Todo::Ask, vec![]));
        assert_eq!(state, State::Initial);
    }

    #[test]
    fn refused_for_good() {
        for (kind, how, words) in [("Denied", "denied", "was denied"), ("Failed", "failed", "failed")] {
            let mut state = State::default();
            asked(&mut state, "r1", 0);
            let message = format!("R%!(EXTRA string=PodCertificateRequest n/r1 {words}, reason=\"R\", message=\"m\")");
            assert_eq!(
                state.step(at(1), Some(&request(Some(kind), 0, 0)), NONE),
                (Todo::Wait(None), vec![(kind, message)])
            );
            assert_eq!(state.step(at(90), None, NONE), (Todo::Wait(None), vec![]));
            let expected = format!("PodCertificateRequest was permanently {how}: reason=\"R\" message=\"m\"");
            assert_eq!(state.bundle().unwrap_err(), expected);
        }
    }
}
