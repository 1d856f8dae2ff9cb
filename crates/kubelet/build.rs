//! Compiles the container runtime interface and the gRPC health check (for probes) without a protoc binary.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/cri.proto", "proto/health.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let set = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(set)?;
    Ok(())
}
