//! Verbs on one resource: [`Api`].
//!
//! Every verb answers with an [`Answer`]: the bytes, to be read as a tree or as a view by who wants to. So nothing
//! here is generic, and nobody pays for a form that is not read.

use api::value::Value;
use bytes::Bytes;
use http::{HeaderValue, Method, header};

use crate::body::Body;
use crate::client::{Client, request};
use crate::error::ClientError;
use crate::json;
use crate::object::{Object, revision_of};
use crate::params::{DeleteOptions, ListParams, Patch, Query, WatchParams, WriteOptions};
use crate::resource::Resource;
use crate::views::View;
use crate::watch::WatchStream;

/// What the server is asked for when only metadata is wanted; upstream's servers and ours both know it.
pub(crate) const PARTIAL_METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
/// The same for lists.
pub(crate) const PARTIAL_METADATA_LIST: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");

/// Verbs on one resource in one namespace, in all, or of cluster scope.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    resource: Resource,
    namespace: String,
    path: String,
}

/// An object as the server answered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(Bytes);

/// A list, or a page of one.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The objects' JSON. They share the list's bytes: copy what is to be kept for long.
    pub items: Vec<Bytes>,
    /// The list's resourceVersion.
    pub revision: u64,
    /// The same as text.
    pub resource_version: String,
    /// Where the next page begins; empty at the end.
    pub continue_token: String,
    /// How many objects follow, if the server knows.
    pub remaining: Option<i64>,
}

// === impl Api ===

impl Api {
    pub(crate) fn new(client: Client, resource: Resource, namespace: &str) -> Api {
        let path = resource.path(namespace);
        Api { client, resource, namespace: namespace.to_owned(), path }
    }

    /// The resource.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The client behind it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace; empty for all or for cluster scope.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// GET of one object.
    ///
    /// # Errors
    /// `NotFound` and what else the server says.
    pub async fn get(&self, name: &str) -> Result<Answer, ClientError> {
        let path = self.object_path(name, "")?;
        self.client.request(request(Method::GET, &path, Body::empty())?).await.map(Answer)
    }

    /// GET of one object, none if it is not there.
    ///
    /// # Errors
    /// What the server says, but not `NotFound`.
    pub async fn get_opt(&self, name: &str) -> Result<Option<Answer>, ClientError> {
        match self.get(name).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// GET of a subresource (`scale`, `status`, `log` …).
    ///
    /// # Errors
    /// What the server says.
    pub async fn get_subresource(&self, name: &str, subresource: &str) -> Result<Answer, ClientError> {
        let path = self.object_path(name, subresource)?;
        self.client.request(request(Method::GET, &path, Body::empty())?).await.map(Answer)
    }

    /// LIST, or one page of it.
    ///
    /// # Errors
    /// `Expired` (see [`ClientError::is_gone`]) for a revision or `continue` token that is too old.
    pub async fn list(&self, params: &ListParams) -> Result<List, ClientError> {
        self.list_as(params, false).await
    }

    pub(crate) async fn list_as(&self, params: &ListParams, metadata_only: bool) -> Result<List, ClientError> {
        let mut query = Query::default();
        params.write(&mut query);
        let mut request = request(Method::GET, &query.onto(&self.path), Body::empty())?;
        if metadata_only {
            request.headers_mut().insert(header::ACCEPT, PARTIAL_METADATA_LIST);
        }
        List::read(self.client.request(request).await?)
    }

    /// LIST of everything, in pages of `params.limit` (500 if none is given). An expired token begins anew once.
    ///
    /// # Errors
    /// What the server says.
    pub async fn list_all(&self, params: &ListParams) -> Result<List, ClientError> {
        let mut params = params.clone();
        params.limit.get_or_insert(PAGE_OBJECTS);
        let mut all = List::default();
        loop {
            let page = match self.list(&params).await {
                Err(error) if error.is_gone() && !params.continue_token.is_empty() => {
                    params.continue_token.clear();
                    params.limit = None;
                    all = List::default();
                    continue;
                }
                answer => answer?,
            };
            all.items.extend(page.items);
            all.revision = page.revision;
            all.resource_version = page.resource_version;
            if page.continue_token.is_empty() {
                return Ok(all);
            }
            params.continue_token = page.continue_token;
            // A token stands for its revision.
            params.resource_version.clear();
            params.resource_version_match.clear();
        }
    }

    /// WATCH. The stream ends when the server ends it; dropping it ends the request.
    ///
    /// # Errors
    /// What the server says before the stream begins; an ERROR event comes inside it.
    pub async fn watch(&self, params: &WatchParams) -> Result<WatchStream, ClientError> {
        self.watch_as(params, false).await
    }

    pub(crate) async fn watch_as(&self, params: &WatchParams, metadata_only: bool) -> Result<WatchStream, ClientError> {
        let mut query = Query::default();
        params.write(&mut query);
        let mut request = request(Method::GET, &query.onto(&self.path), Body::empty())?;
        if metadata_only {
            request.headers_mut().insert(header::ACCEPT, PARTIAL_METADATA);
        }
        let response = self.client.send(request).await?;
        Ok(WatchStream::new(response.into_body()))
    }

    /// CREATE.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, and what else the server says.
    pub async fn create(&self, object: impl Into<Bytes>, options: &WriteOptions) -> Result<Answer, ClientError> {
        self.write(Method::POST, self.path.clone(), object.into(), options).await
    }

    /// CREATE of a tree; kind and apiVersion are filled in.
    ///
    /// # Errors
    /// As [`Api::create`].
    pub async fn create_tree(&self, object: Value, options: &WriteOptions) -> Result<Answer, ClientError> {
        let object = self.typed(object);
        self.create(json::write(&object), options).await
    }

    /// CREATE of a subresource (`binding`, `eviction`, `token`). kind and apiVersion must be in the object.
    ///
    /// # Errors
    /// What the server says.
    pub async fn create_subresource(
        &self,
        name: &str,
        subresource: &str,
        object: impl Into<Bytes>,
        options: &WriteOptions,
    ) -> Result<Answer, ClientError> {
        let path = self.object_path(name, subresource)?;
        self.write(Method::POST, path, object.into(), options).await
    }

    /// UPDATE of an object under the name that it carries; kind and apiVersion are filled in (the items of a list
    /// lack them).
    ///
    /// # Errors
    /// `Conflict` if its resourceVersion is not the stored one.
    pub async fn update(&self, object: Value, options: &WriteOptions) -> Result<Answer, ClientError> {
        self.update_subresource(object, "", options).await
    }

    /// UPDATE of the status.
    ///
    /// # Errors
    /// As [`Api::update`].
    pub async fn update_status(&self, object: Value, options: &WriteOptions) -> Result<Answer, ClientError> {
        self.update_subresource(object, "status", options).await
    }

    /// UPDATE of a subresource, with the object's own form (`status`, `finalize`, `approval`, `resize`).
    ///
    /// # Errors
    /// As [`Api::update`].
    pub async fn update_subresource(
        &self,
        object: Value,
        subresource: &str,
        options: &WriteOptions,
    ) -> Result<Answer, ClientError> {
        let path = self.object_path(object.str_at("metadata.name"), subresource)?;
        let object = self.typed(object);
        self.write(Method::PUT, path, json::write(&object), options).await
    }

    /// PATCH of an object or (unless empty) a subresource of it.
    ///
    /// # Errors
    /// What the server says; for apply, `Conflict` names the other managers.
    pub async fn patch(
        &self,
        name: &str,
        subresource: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Answer, ClientError> {
        let mut query = Query::default();
        options.write(&mut query);
        if let Patch::Apply { force: true, .. } = patch {
            query.add("force", "true");
        }
        let path = query.onto(&self.object_path(name, subresource)?);
        let mut request = request(Method::PATCH, &path, Body::full(patch.body()))?;
        request.headers_mut().insert(header::CONTENT_TYPE, patch.content_type());
        self.client.request(request).await.map(Answer)
    }

    /// DELETE of one object. The answer is the object (still there, if it ends gracefully or has finalizers) or a
    /// `Status`.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if a precondition does not hold.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<Answer, ClientError> {
        let path = self.object_path(name, "")?;
        let body = Body::full(json::write(&options.to_value()));
        self.client.request(request(Method::DELETE, &path, body)?).await.map(Answer)
    }

    /// DELETE of all objects that the selectors select.
    ///
    /// # Errors
    /// What the server says.
    pub async fn delete_collection(&self, options: &DeleteOptions, params: &ListParams) -> Result<Answer, ClientError> {
        let mut query = Query::default();
        params.write(&mut query);
        let body = Body::full(json::write(&options.to_value()));
        self.client.request(request(Method::DELETE, &query.onto(&self.path), body)?).await.map(Answer)
    }

    async fn write(
        &self,
        method: Method,
        path: String,
        object: Bytes,
        options: &WriteOptions,
    ) -> Result<Answer, ClientError> {
        let mut query = Query::default();
        options.write(&mut query);
        self.client.request(request(method, &query.onto(&path), Body::full(object))?).await.map(Answer)
    }

    /// The path of an object or a subresource.
    pub(crate) fn object_path(&self, name: &str, subresource: &str) -> Result<String, ClientError> {
        if name.is_empty() {
            return Err(ClientError::Request("resource name may not be empty".to_owned()));
        }
        if name == "." || name == ".." || name.contains(['/', '%']) {
            return Err(ClientError::Request(format!("invalid resource name {name:?}")));
        }
        let name = crate::params::escape(name);
        Ok(if subresource.is_empty() {
            format!("{}/{name}", self.path)
        } else {
            format!("{}/{name}/{subresource}", self.path)
        })
    }

    fn typed(&self, object: Value) -> Value {
        if object.field("kind").is_some() && object.field("apiVersion").is_some() {
            return object;
        }
        let mut typed = Value::object();
        typed.set("kind", self.resource.kind.as_ref());
        typed.set("apiVersion", self.resource.api_version());
        let typed_map = typed.make_object();
        if let Value::Object(fields) = object {
            for (key, value) in fields.into_iter().filter(|(key, _)| key != "kind" && key != "apiVersion") {
                typed_map.push_unchecked(key, value);
            }
        }
        typed
    }
}

/// Objects on a page when everything is listed; client-go's pager's size.
const PAGE_OBJECTS: u32 = 500;

// === impl Answer ===

impl Answer {
    /// An answer made from bytes, for tests and fakes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Answer {
        Answer(bytes.into())
    }

    /// The JSON.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The JSON, given away.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The tree.
    ///
    /// # Errors
    /// [`ClientError::Decode`].
    pub fn tree(&self) -> Result<Value, ClientError> {
        json::parse(&self.0)
    }

    /// The view with its bytes.
    ///
    /// # Errors
    /// [`ClientError::Decode`].
    pub fn object<T: View>(self) -> Result<Object<T>, ClientError> {
        Object::decode(self.0)
    }

    /// The view alone.
    ///
    /// # Errors
    /// [`ClientError::Decode`].
    pub fn view<T: View>(&self) -> Result<T, ClientError> {
        T::decode(&self.0)
    }

    /// The revision that the write made (or the object has); 0 for a `Status` without one.
    pub fn revision(&self) -> u64 {
        json::metadata_str(&self.0, "resourceVersion").as_deref().map_or(0, revision_of)
    }

    /// `metadata.uid`; of a `Status`, `details.uid`.
    pub fn uid(&self) -> String {
        json::metadata_str(&self.0, "uid").unwrap_or_default()
    }

    /// `metadata.name`: what `generateName` became.
    pub fn name(&self) -> String {
        json::metadata_str(&self.0, "name").unwrap_or_default()
    }
}

// === impl List ===

impl List {
    /// Takes a list's JSON apart without reading its items.
    ///
    /// # Errors
    /// [`ClientError::Decode`] if it is no list.
    pub fn read(bytes: Bytes) -> Result<List, ClientError> {
        use sonic_rs::JsonValueTrait;
        let wrong = |error: sonic_rs::Error| ClientError::decode("a list", error);
        let mut list = List::default();
        for field in sonic_rs::to_object_iter(bytes.as_ref()) {
            let (key, value) = field.map_err(wrong)?;
            match key.as_ref() {
                "metadata" => {
                    let text = |name: &str| value.get(name).and_then(|found| found.as_str().map(str::to_owned));
                    list.resource_version = text("resourceVersion").unwrap_or_default();
                    list.revision = revision_of(&list.resource_version);
                    list.continue_token = text("continue").unwrap_or_default();
                    list.remaining = value.get("remainingItemCount").and_then(|count| count.as_i64());
                }
                "items" if !value.is_null() => {
                    for item in sonic_rs::to_array_iter(value.as_raw_str()) {
                        let item = item.map_err(wrong)?;
                        list.items.push(bytes.slice_ref(item.as_raw_str().as_bytes()));
                    }
                }
                _ => {}
            }
        }
        Ok(list)
    }

    /// The items as views.
    ///
    /// # Errors
    /// [`ClientError::Decode`] for the first item of another shape.
    pub fn objects<T: View>(&self) -> Result<Vec<Object<T>>, ClientError> {
        self.items.iter().cloned().map(Object::decode).collect()
    }
}
