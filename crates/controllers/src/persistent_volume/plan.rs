//! What is to be done about one claim, or one volume.

use std::sync::Arc;

use client::{MetaExt, Object};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::read::*;
use crate::common::selectors::{selector, selects};

/// What to do about a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForClaim {
    /// Bind it to this volume, or finish that.
    Bind(String),
    /// It waits; why, unless that is known: a warning or not, reason, message.
    Wait(Option<(bool, &'static str, String)>),
    /// Nothing fits: somebody may make a volume for it.
    Unmatched,
    /// Its volume is lost: reason and message.
    Lost(&'static str, &'static str),
    /// The user's volume is somebody else's although we bound it.
    Stolen(String),
}

/// What to do about a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForVolume {
    /// Its phase is this one.
    Phase(&'static str),
    /// Its claim is gone: it is released, and reclaimed as its policy says.
    Reclaim,
    /// Its claim is to be looked at.
    AskClaim,
    /// It does not suit the claim that it names.
    Mismatch,
    /// Its claim took another one.
    Unbind,
}

/// Decides about a claim. `delayed`: its class waits for a consumer.
pub fn for_claim(claim: &PersistentVolumeClaim, volumes: &[Arc<Object<PersistentVolume>>], delayed: bool) -> ForClaim {
    let named = volume_name(claim);
    let volume = volumes.iter().find(|volume| volume.name() == named);
    if claim.annotation(BIND_COMPLETED).is_some() {
        return bound(claim, named, volume.map(|volume| &volume.view));
    }
    if named.is_empty() {
        return match best(claim, volumes, delayed) {
            Some(volume) => ForClaim::Bind(volume),
            None => ForClaim::Unmatched,
        };
    }
    let Some(volume) = volume else { return ForClaim::Wait(None) };
    if volume_spec(volume).claim_ref.is_none() {
        return match satisfies(volume, claim) {
            Ok(()) => ForClaim::Bind(named.to_owned()),
            Err(why) => {
                let said = format!("Cannot bind to requested volume {named:?}: {why}");
                ForClaim::Wait(Some((true, "VolumeMismatch", said)))
            }
        };
    }
    if is_bound_to(volume, claim) {
        return ForClaim::Bind(named.to_owned());
    }
    let said = format!("volume {named:?} already bound to a different claim.");
    match claim.annotation(BOUND_BY_CONTROLLER) {
        Some(_) => ForClaim::Stolen(said),
        None => ForClaim::Wait(Some((true, "FailedBinding", said))),
    }
}

/// A claim that was bound before.
fn bound(claim: &PersistentVolumeClaim, named: &str, volume: Option<&PersistentVolume>) -> ForClaim {
    const GONE: &str = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    if named.is_empty() {
        let said = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return ForClaim::Lost("ClaimLost", said);
    }
    let Some(volume) = volume else { return ForClaim::Lost("ClaimLost", GONE) };
    match &volume_spec(volume).claim_ref {
        Some(reference) if reference.uid.as_deref().unwrap_or_default() != claim.uid() => {
            let said = "Two claims are bound to the same volume, this one is bound incorrectly";
            ForClaim::Lost("ClaimMisbound", said)
        }
        _ => ForClaim::Bind(named.to_owned()),
    }
}

/// Whether a volume that nobody has is one that the claim can ask for by name.
fn satisfies(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), String> {
    let checks: [(bool, &str); 5] = [
        (capacity(volume) >= requested(claim), "requested PV is too small"),
        (volume_class(volume) == claim_class(claim), "storageClassName does not match"),
        (same_attributes(volume, claim), "volumeAttributesClassName does not match"),
        (same_volume_mode(volume, claim), "incompatible volumeMode"),
        (has_modes(volume, claim), "incompatible accessMode"),
    ];
    if volume.is_deleting() {
        return Err(format!("the volume is marked for deletion {:?}", volume.name()));
    }
    checks.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
}

/// The volume that was made for the claim, else the smallest of those with the fewest access modes that fit.
fn best(claim: &PersistentVolumeClaim, volumes: &[Arc<Object<PersistentVolume>>], delayed: bool) -> Option<String> {
    let wanted = claim_spec(claim).selector.as_ref().map(selector);
    let could = |volume: &&Arc<Object<PersistentVolume>>| {
        has_modes(volume, claim)
            && (volume_spec(volume).claim_ref.is_none() || is_bound_to(volume, claim))
            && capacity(volume) >= requested(claim)
            && same_volume_mode(volume, claim)
            && same_attributes(volume, claim)
            && !volume.is_deleting()
    };
    let is_free = |volume: &PersistentVolume| {
        !delayed
            && volume_phase(volume) == "Available"
            && wanted.as_ref().is_none_or(|wanted| selects(wanted, &volume.metadata.labels))
            && volume_class(volume) == claim_class(claim)
    };
    let rank = |volume: &PersistentVolume| {
        let modes = volume_spec(volume).access_modes.as_ref().map_or(0, Vec::len);
        (modes, !is_bound_to(volume, claim), capacity(volume), volume.name().to_owned())
    };
    let candidates = volumes.iter().filter(could).filter(|volume| is_bound_to(volume, claim) || is_free(volume));
    candidates.min_by_key(|volume| rank(volume)).map(|volume| volume.name().to_owned())
}

/// Decides about a volume. `claim` is the one that it names, if that is still the same.
pub fn for_volume(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> ForVolume {
    let reference = volume_spec(volume).claim_ref.as_ref();
    let Some(_) = reference.filter(|one| one.uid.as_ref().is_some_and(|uid| !uid.is_empty())) else {
        return ForVolume::Phase("Available");
    };
    let Some(claim) = claim else { return ForVolume::Reclaim };
    let named = volume_name(claim);
    if named.is_empty() {
        return if same_volume_mode(volume, claim) { ForVolume::AskClaim } else { ForVolume::Mismatch };
    }
    if named == volume.name() {
        return ForVolume::Phase("Bound");
    }
    let is_ours_to_delete = volume.annotation(PROVISIONED_BY).is_some()
        && volume_spec(volume).persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    if is_ours_to_delete { ForVolume::Reclaim } else { ForVolume::Unbind }
}

#[cfg(test)]
mod tests {
    use client::View;
    use rstest::rstest;

    use super::*;

    fn claim(meta: &str, spec: &str) -> PersistentVolumeClaim {
        let text = format!(
            r#"{{"metadata":{{"name":"c","namespace":"x","uid":"u"{meta}}},"spec":{{"accessModes":["ReadWriteOnce"],"resources":{{"requests":{{"storage":"2Gi"}}}}{spec}}}}}"#
        );
        PersistentVolumeClaim::decode(text.as_bytes()).unwrap()
    }

    fn volume(name: &str, size: &str, more: &str) -> Arc<Object<PersistentVolume>> {
        let text = format!(
            r#"{{"metadata":{{"name":"{name}","labels":{{"n":"{name}"}}}},"spec":{{"capacity":{{"storage":"{size}"}},"accessModes":["ReadWriteOnce"]{more}}},"status":{{"phase":"Available"}}}}"#
        );
        Arc::new(Object::decode(text.into()).unwrap())
    }

    const OURS: &str = r#","claimRef":{"namespace":"x","name":"c","uid":"u"}"#;
    const FOR_US: &str = r#","claimRef":{"namespace":"x","name":"c"}"#;
    const OTHERS: &str = r#","claimRef":{"namespace":"x","name":"d","uid":"v"}"#;
    const DONE: &str = r#","annotations":{"pv.kubernetes.io/bind-completed":"yes"}"#;

    #[rstest]
    #[case::smallest("", &[("a", "5Gi", ""), ("b", "3Gi", ""), ("small", "1Gi", "")], false, Some("b"))]
    #[case::made_for_it("", &[("a", "3Gi", ""), ("b", "9Gi", FOR_US)], false, Some("b"))]
    #[case::of_others("", &[("a", "3Gi", OTHERS)], false, None)]
    #[case::waiting("", &[("a", "3Gi", "")], true, None)]
    #[case::made_for_one_that_waits("", &[("a", "3Gi", FOR_US)], true, Some("a"))]
    #[case::another_class(r#","storageClassName":"fast""#, &[("a", "3Gi", "")], false, None)]
    #[case::its_class(r#","storageClassName":"fast""#, &[("a", "3Gi", r#","storageClassName":"fast""#)], false, Some("a"))]
    #[case::selected(r#","selector":{"matchLabels":{"n":"b"}}"#, &[("a", "3Gi", ""), ("b", "4Gi", "")], false, Some("b"))]
    #[case::a_block_device("", &[("a", "3Gi", r#","volumeMode":"Block""#)], false, None)]
    fn what_fits(
        #[case] spec: &str,
        #[case] volumes: &[(&str, &str, &str)],
        #[case] delayed: bool,
        #[case] expected: Option<&str>,
    ) {
        let volumes: Vec<_> = volumes.iter().map(|(name, size, more)| volume(name, size, more)).collect();
        let expected = expected.map_or(ForClaim::Unmatched, |name| ForClaim::Bind(name.to_owned()));
        assert_eq!(for_claim(&claim("", spec), &volumes, delayed), expected);
    }

    #[rstest]
    #[case::not_there("", "", "", ForClaim::Wait(None))]
    #[case::free("", "a", "", ForClaim::Bind("a".into()))]
    #[case::of_others(
        "",
        "a",
        OTHERS,
        ForClaim::Wait(Some((true, "FailedBinding", "volume \"a\" already bound to a different claim.".into())))
    )]
    #[case::lost(
        DONE,
        "",
        "",
        ForClaim::Lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
    )]
    #[case::bound(DONE, "a", OURS, ForClaim::Bind("a".into()))]
    #[case::misbound(
        DONE,
        "a",
        OTHERS,
        ForClaim::Lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
    )]
    fn claims_that_name_a_volume(
        #[case] meta: &str,
        #[case] there: &str,
        #[case] more: &str,
        #[case] expected: ForClaim,
    ) {
        let volumes: Vec<_> = Some(volume(there, "3Gi", more)).filter(|_| !there.is_empty()).into_iter().collect();
        assert_eq!(for_claim(&claim(meta, r#","volumeName":"a""#), &volumes, false), expected);
    }

    #[test]
    fn too_small_a_volume_that_was_asked_for() {
        let outcome = for_claim(&claim("", r#","volumeName":"a""#), &[volume("a", "1Gi", "")], false);
        let said = "Cannot bind to requested volume \"a\": requested PV is too small";
        assert_eq!(outcome, ForClaim::Wait(Some((true, "VolumeMismatch", said.into()))));
    }

    #[rstest]
    #[case::free("", None, ForVolume::Phase("Available"))]
    #[case::meant_for_one(FOR_US, None, ForVolume::Phase("Available"))]
    #[case::claim_gone(OURS, None, ForVolume::Reclaim)]
    #[case::claim_not_there_yet(OURS, Some(""), ForVolume::AskClaim)]
    #[case::bound(OURS, Some(r#","volumeName":"a""#), ForVolume::Phase("Bound"))]
    #[case::claim_took_another(OURS, Some(r#","volumeName":"b""#), ForVolume::Unbind)]
    #[case::another_mode(OURS, Some(r#","volumeMode":"Block""#), ForVolume::Mismatch)]
    fn volumes(#[case] more: &str, #[case] spec: Option<&str>, #[case] expected: ForVolume) {
        let claim = spec.map(|spec| claim("", spec));
        assert_eq!(for_volume(&volume("a", "3Gi", more), claim.as_ref()), expected);
    }
}
