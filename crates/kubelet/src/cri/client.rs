//! A client for one runtime's socket. Cheap to clone; calls share one HTTP/2 connection that reconnects by itself.

use std::{collections::HashMap, path::Path, time::Duration};

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::v1::{self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient};

/// How long a call may take that does not wait for a container itself; upstream's `runtimeRequestTimeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest answer taken: upstream's limit for lists and verbose statuses.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A call to the runtime that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("rpc error: code = {code} desc = {message}", code = code_name(*code))]
pub struct Error {
    /// The gRPC code.
    pub code: Code,
    /// The runtime's own words.
    pub message: String,
}

/// One runtime: containers and images.
#[derive(Clone)]
pub struct Runtime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

// === impl Error ===

impl Error {
    /// The object is not there; for a stop or removal as good as done.
    pub fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }

    /// The runtime does not know the call.
    pub fn is_unimplemented(&self) -> bool {
        self.code == Code::Unimplemented
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error { code: status.code(), message: status.message().to_owned() }
    }
}

/// The code as Go's gRPC prints it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

// === impl Runtime ===

impl Runtime {
    /// A client for the socket at `endpoint` (`unix:///run/containerd/containerd.sock` or a bare path). Connects on
    /// the first call, so the runtime may still be starting.
    pub fn connect(endpoint: &str) -> Result<Self, Error> {
        let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
        if !Path::new(path).is_absolute() {
            let message = format!("the runtime endpoint must be the absolute path of a unix socket, not {endpoint:?}");
            return Err(Error { code: Code::InvalidArgument, message });
        }
        let channel = Endpoint::try_from(format!("unix://{path}"))
            .map_err(|error| Error { code: Code::InvalidArgument, message: error.to_string() })?
            .connect_lazy();
        Ok(Runtime {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
        })
    }
}

/// One method a call: the request's type says everything, the timeout is the usual one.
macro_rules! calls {
    ($($(#[$doc:meta])* $service:ident $name:ident($request:ident) -> $response:ident;)*) => {
        impl Runtime {
            $($(#[$doc])*
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$response, Error> {
                self.call(REQUEST_TIMEOUT, request, |this, request| {
                    let mut client = this.$service.clone();
                    async move { client.$name(request).await }
                }).await
            })*
        }
    };
}

calls! {
    /// Who the runtime is.
    runtime version(VersionRequest) -> VersionResponse;
    /// Whether runtime and network are ready, and the handlers.
    runtime status(StatusRequest) -> StatusResponse;
    /// Removes a stopped sandbox.
    runtime remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
    /// One sandbox's state and addresses.
    runtime pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
    /// Sandboxes by id, state or labels.
    runtime list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
    /// Makes a container in a sandbox.
    runtime create_container(CreateContainerRequest) -> CreateContainerResponse;
    /// Starts a created container.
    runtime start_container(StartContainerRequest) -> StartContainerResponse;
    /// Removes a container, forcibly if it runs.
    runtime remove_container(RemoveContainerRequest) -> RemoveContainerResponse;
    /// Containers by id, state, sandbox or labels.
    runtime list_containers(ListContainersRequest) -> ListContainersResponse;
    /// One container's state.
    runtime container_status(ContainerStatusRequest) -> ContainerStatusResponse;
    /// Changes a running container's cgroup limits.
    runtime update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
    /// Tells the runtime that a log file was moved away.
    runtime reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
    /// A streaming endpoint for a command.
    runtime exec(ExecRequest) -> ExecResponse;
    /// A streaming endpoint for a container's own streams.
    runtime attach(AttachRequest) -> AttachResponse;
    /// A streaming endpoint for ports of a sandbox.
    runtime port_forward(PortForwardRequest) -> PortForwardResponse;
    /// One container's use of resources.
    runtime container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
    /// Many containers' use of resources.
    runtime list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
    /// One sandbox's use of resources.
    runtime pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
    /// Many sandboxes' use of resources.
    runtime list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
    /// The cgroup driver, where the runtime tells.
    runtime runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
    /// Images on the machine.
    images list_images(ListImagesRequest) -> ListImagesResponse;
    /// One image; `image` is absent where it is not there.
    images image_status(ImageStatusRequest) -> ImageStatusResponse;
    /// Removes an image with all its names.
    images remove_image(RemoveImageRequest) -> RemoveImageResponse;
    /// The disk the images live on.
    images image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse;
}

impl Runtime {
    async fn call<Q, R, F>(
        &self,
        timeout: Duration,
        request: Q,
        send: impl FnOnce(&Self, tonic::Request<Q>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<tonic::Response<R>, Status>>,
    {
        match tokio::time::timeout(timeout, send(self, tonic::Request::new(request))).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Error { code: Code::DeadlineExceeded, message: "context deadline exceeded".into() }),
        }
    }

    /// Makes a sandbox: its network, its pause process. May take as long as the network plugin does.
    pub async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Error> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let mut client = self.runtime.clone();
        let answer =
            self.call(REQUEST_TIMEOUT * 2, request, |_, request| async move { client.run_pod_sandbox(request).await });
        Ok(answer.await?.pod_sandbox_id)
    }

    /// Stops a sandbox and whatever runs in it; fine if it is gone.
    pub async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let mut client = self.runtime.clone();
        let answer =
            self.call(REQUEST_TIMEOUT * 2, request, |_, request| async move { client.stop_pod_sandbox(request).await });
        match answer.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Stops a container: its stop signal, and after `grace_seconds` a kill. Fine if it is gone.
    pub async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<(), Error> {
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: grace_seconds };
        let patience = REQUEST_TIMEOUT + Duration::from_secs(grace_seconds.max(0).unsigned_abs());
        let mut client = self.runtime.clone();
        let answer = self.call(patience, request, |_, request| async move { client.stop_container(request).await });
        match answer.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs a command in a container to its end. No timeout where it is zero.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<v1::ExecSyncResponse, Error> {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout: seconds };
        let patience =
            if timeout.is_zero() { Duration::from_secs(u64::from(u32::MAX)) } else { REQUEST_TIMEOUT + timeout };
        let mut client = self.runtime.clone();
        self.call(patience, request, |_, request| async move { client.exec_sync(request).await }).await
    }

    /// Pulls an image and gives its reference. Takes as long as it takes.
    pub async fn pull_image(&self, request: v1::PullImageRequest) -> Result<String, Error> {
        let answer = self.images.clone().pull_image(request).await?;
        Ok(answer.into_inner().image_ref)
    }

    /// The runtime's stream of container events, where it has one.
    pub async fn container_events(&self) -> Result<tonic::Streaming<v1::ContainerEventResponse>, Error> {
        Ok(self.runtime.clone().get_container_events(v1::GetEventsRequest {}).await?.into_inner())
    }

    /// Sandboxes and containers that carry all of `labels`.
    pub async fn list_labelled(
        &self,
        labels: &HashMap<String, String>,
    ) -> Result<(Vec<v1::PodSandbox>, Vec<v1::Container>), Error> {
        let sandboxes = v1::PodSandboxFilter { label_selector: labels.clone(), ..Default::default() };
        let containers = v1::ContainerFilter { label_selector: labels.clone(), ..Default::default() };
        let (sandboxes, containers) = tokio::try_join!(
            self.list_pod_sandbox(v1::ListPodSandboxRequest { filter: Some(sandboxes) }),
            self.list_containers(v1::ListContainersRequest { filter: Some(containers) }),
        )?;
        Ok((sandboxes.items, containers.containers))
    }
}
