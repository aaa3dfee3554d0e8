//! Compiles the protos without `protoc`: one encoded descriptor set (for
//! reflection, the gateway and OpenAPI) and the tonic code, both in `OUT_DIR`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_reflect::{DescriptorPool, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files: Vec<PathBuf> =
        fs::read_dir("proto/tributary/v1")?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.push(Path::new("proto/grpc/health/v1/health.proto").into());
    files.push(Path::new("proto/google/rpc/error_details.proto").into());
    files.push(Path::new("proto/google/rpc/status.proto").into());
    files.sort();
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    // The encoded set keeps custom options (google.api.http, our own); the one
    // made of prost's types would drop them.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("tributary.bin"), &encoded)?;

    every_method_has_a_role(&DescriptorPool::decode(encoded.as_slice())?)?;

    // Validation finds a message's rules by its name.
    let mut names = tonic_prost_build::Config::new();
    names.enable_type_names();
    tonic_prost_build::configure()
        .build_client(true)
        .bytes(".google.rpc.Status.details")
        // Their Debug is written by hand: prost's would print the secrets.
        .skip_debug([
            ".tributary.v1.CreateSourceConnectionRequest",
            ".tributary.v1.UpdateSourceConnectionCredentialsRequest",
            ".tributary.v1.UpdateSourceConnectionConfigRequest",
            ".tributary.v1.CreateApiKeyResponse",
        ])
        .compile_fds_with_config(compiler.file_descriptor_set(), names)?;
    Ok(())
}

/// An RPC without a row in the authorization table must not build.
fn every_method_has_a_role(pool: &DescriptorPool) -> Result<(), Box<dyn std::error::Error>> {
    let extension = pool.get_extension_by_name("tributary.v1.rest").ok_or("tributary.v1.rest is not defined")?;
    let missing: Vec<String> = pool
        .services()
        .filter(|service| service.package_name() == "tributary.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(|method| {
            let options = method.options();
            let rest = options.get_extension(&extension);
            let role = rest.as_message().and_then(|rest| rest.get_field_by_name("role").map(|role| role.into_owned()));
            !matches!(role, Some(Value::EnumNumber(role)) if role > 0)
        })
        .map(|method| method.full_name().to_owned())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no role in (tributary.v1.rest) of: {}", missing.join(", ")).into())
    }
}
