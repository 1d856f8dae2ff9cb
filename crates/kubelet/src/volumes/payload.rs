//! The files of config maps, secrets, the downward API and projections of them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, PodCertificateProjection, ProjectedVolumeSource,
    ServiceAccountTokenProjection,
};

use super::{
    atomic::{File, Files},
    trust_anchors,
};
use crate::{
    certificates::PodCertificates,
    objects::{ObjectError, Objects, TokenKey, Tokens},
    pod::PodExt,
    runtime::fields,
};

/// The mode of files that say none.
pub const MODE_DEFAULT: i32 = 0o644;
/// How long a token lasts that does not say.
const TOKEN_SECONDS_DEFAULT: i64 = 3600;

/// Where the content comes from.
pub struct Sources<'a> {
    /// Config maps, secrets, …
    pub objects: &'a dyn Objects,
    /// Tokens that still last.
    pub tokens: &'a Tokens,
    /// Certificates that were issued.
    pub certificates: &'a PodCertificates,
    /// What the node knows.
    pub node: fields::Node<'a>,
    /// Seconds since 1970.
    pub now: i64,
}

/// Data by key.
type Data = BTreeMap<String, Vec<u8>>;

/// Picks keys: all of them under their own names, or those that are named.
///
/// # Errors
/// Where a named key is not there.
pub fn pick(
    data: Data,
    items: Option<&Vec<KeyToPath>>,
    mode: i32,
    optional: bool,
    kind: &str,
) -> Result<Files, String> {
    let file = |data: Vec<u8>, mode: i32| File { data, mode: u32::try_from(mode).unwrap_or(0o644), owner: None };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, data)| (key, file(data, mode))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                files.insert(item.path.clone(), file(data.clone(), item.mode.unwrap_or(mode)));
            }
            None if optional => {}
            None if kind == "secret" => return Err(format!("references non-existent secret key: {}", item.key)),
            None => return Err(format!("configmap references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

impl Sources<'_> {
    /// A config map's files.
    ///
    /// # Errors
    /// Where it or a key is not there and not optional.
    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
        items: Option<&Vec<KeyToPath>>,
        mode: i32,
        optional: bool,
    ) -> Result<Files, String> {
        let data = match self.objects.config_map(namespace, name).await {
            Ok(map) => {
                let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
                let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
                text.chain(binary).collect()
            }
            Err(ObjectError::NotFound(_)) if optional => Data::new(),
            Err(error) => return Err(error.to_string()),
        };
        pick(data, items, mode, optional, "configmap")
    }

    /// A secret's files.
    ///
    /// # Errors
    /// Where it or a key is not there and not optional.
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
        items: Option<&Vec<KeyToPath>>,
        mode: i32,
        optional: bool,
    ) -> Result<Files, String> {
        let data = match self.objects.secret(namespace, name).await {
            Ok(secret) => secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
            Err(ObjectError::NotFound(_)) if optional => Data::new(),
            Err(error) => return Err(error.to_string()),
        };
        pick(data, items, mode, optional, "secret")
    }

    /// The pod's own fields as files.
    ///
    /// # Errors
    /// Where a field is none that may be asked for.
    pub fn downward(&self, pod: &Pod, items: Option<&Vec<DownwardAPIVolumeFile>>, mode: i32) -> Result<Files, String> {
        let mut files = Files::new();
        for item in items.into_iter().flatten() {
            let text = if let Some(field) = &item.field_ref {
                fields::field(pod, &field.field_path, self.node)?
            } else if let Some(resource) = &item.resource_field_ref {
                fields::resource(pod, None, resource, self.node)?
            } else {
                String::new()
            };
            let mode = u32::try_from(item.mode.unwrap_or(mode)).unwrap_or(0o644);
            files.insert(item.path.clone(), File { data: text.into_bytes(), mode, owner: None });
        }
        Ok(files)
    }

    /// Several sources in one volume.
    ///
    /// # Errors
    /// What every source that fails says.
    pub async fn projected(&self, pod: &Pod, volume: &str, source: &ProjectedVolumeSource) -> Result<Files, String> {
        let mode = source.default_mode.unwrap_or(MODE_DEFAULT);
        let (mut files, mut errors) = (Files::new(), Vec::new());
        for (index, part) in source.sources.iter().flatten().enumerate() {
            let namespace = pod.namespace();
            let result = if let Some(own) = &part.secret {
                self.secret(namespace, &own.name, own.items.as_ref(), mode, own.optional == Some(true)).await
            } else if let Some(own) = &part.config_map {
                self.config_map(namespace, &own.name, own.items.as_ref(), mode, own.optional == Some(true)).await
            } else if let Some(own) = &part.downward_api {
                self.downward(pod, own.items.as_ref(), mode)
            } else if let Some(own) = &part.service_account_token {
                self.token(pod, own, mode).await
            } else if let Some(own) = &part.cluster_trust_bundle {
                trust_anchors::read(self.objects, own)
                    .await
                    .map(|text| Files::from([(own.path.clone(), credential(pod, text.into_bytes(), mode))]))
            } else if let Some(own) = &part.pod_certificate {
                self.certificate(pod, (volume, index), own, mode)
            } else {
                Ok(Files::new())
            };
            match result {
                Ok(more) => files.extend(more),
                Err(error) => errors.push(error),
            }
        }
        match errors.as_slice() {
            [] => Ok(files),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    async fn token(&self, pod: &Pod, own: &ServiceAccountTokenProjection, mode: i32) -> Result<Files, String> {
        let spec = crate::pod::spec(pod);
        let key = TokenKey {
            namespace: pod.namespace().to_owned(),
            account: spec.service_account_name.clone().unwrap_or_default(),
            audience: own.audience.clone().unwrap_or_default(),
            seconds: own.expiration_seconds.unwrap_or(TOKEN_SECONDS_DEFAULT),
            pod_name: pod.name().to_owned(),
            pod_uid: pod.uid().to_owned(),
        };
        let token = self.tokens.get(self.objects, key, self.now).await.map_err(|error| error.to_string())?;
        Ok(Files::from([(own.path.clone(), credential(pod, token.into_bytes(), mode))]))
    }

    fn certificate(
        &self,
        pod: &Pod,
        (volume, index): (&str, usize),
        own: &PodCertificateProjection,
        mode: i32,
    ) -> Result<Files, String> {
        let bundle = self.certificates.bundle(pod, volume, index, own)?;
        let both = format!("{}{}", bundle.key, bundle.chain);
        let parts = [
            (&own.credential_bundle_path, both),
            (&own.key_path, bundle.key),
            (&own.certificate_chain_path, bundle.chain),
        ];
        let named =
            parts.into_iter().filter_map(|(path, text)| Some((path.clone().filter(|path| !path.is_empty())?, text)));
        Ok(named.map(|(path, text)| (path, credential(pod, text.into_bytes(), mode))).collect())
    }
}

/// A file for the pod's users only, where it is known who they are; with a group, its ownership change lets that in.
fn credential(pod: &Pod, data: Vec<u8>, mode: i32) -> File {
    let owner = common_user(pod);
    let group = crate::pod::spec(pod).security_context.as_ref().and_then(|own| own.fs_group);
    let mode = if owner.is_some() || group.is_some() { 0o600 } else { mode };
    File { data, mode: u32::try_from(mode).unwrap_or(0o600), owner }
}

/// The user whom all containers run as, if it is one and said. Upstream: `FsUserFrom`.
fn common_user(pod: &Pod) -> Option<u32> {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.run_as_user);
    let mut users = pod
        .init_containers()
        .iter()
        .chain(pod.containers())
        .map(|container| container.security_context.as_ref().and_then(|own| own.run_as_user).or(of_pod));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}
