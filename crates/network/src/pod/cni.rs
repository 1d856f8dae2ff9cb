//! The CNI configuration: a chain of standard plugins.

use super::PodNetwork;
use crate::proxy::address::Family;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};

/// The version of the configuration's form; plugins since 1.0 read it.
const CNI_VERSION: &str = "1.0.0";

/// The configuration's file name; the runtime takes the first in order.
const FILE_NAME: &str = "10-xebec.conflist";

/// The configuration. `leases` is the folder in which host-local keeps which addresses are taken.
pub fn conflist(network: &PodNetwork, leases: &Path) -> Value {
    let ranges: Vec<Value> = network.pod_cidrs.iter().map(|cidr| json!([{"subnet": cidr.to_string()}])).collect();
    let routes: Vec<Value> = network.pod_cidrs.iter().map(|cidr| json!({"dst": any(cidr.family())})).collect();
    let mut bridge = json!({
        "type": "bridge",
        "bridge": network.instance.bridge(),
        "isGateway": true,
        "ipMasq": false,
        // Where br_netfilter is on, a pod that reaches itself through a Service is bridged, back out of the same port.
        "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": routes, "dataDir": leases},
    });
    if let Some(mtu) = network.mtu {
        bridge["mtu"] = mtu.into();
    }
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true});
    json!({"cniVersion": CNI_VERSION, "name": network.instance.cni_network(), "plugins": [bridge, portmap]})
}

/// Writes the configuration into the runtime's folder, whole or not at all: runtimes watch the folder. Writes nothing
/// where it is there already.
///
/// # Errors
/// Where the folders can't be made or written.
pub fn write(network: &PodNetwork, folder: &Path, leases: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    std::fs::create_dir_all(leases)?;
    let path = folder.join(FILE_NAME);
    let text = format!("{:#}\n", conflist(network, leases));
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(path);
    }
    // Not named `.conflist`: a runtime that looks now must not take it.
    let draft = folder.join(".xebec.draft");
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, &path)?;
    Ok(path)
}

/// Removes the configuration.
///
/// # Errors
/// Where it is there and can't be removed.
pub fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(FILE_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn any(family: Family) -> &'static str {
    match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::Instance;

    #[test]
    fn the_configuration_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let network = PodNetwork {
            instance: Instance::new("main").unwrap(),
            pod_cidrs: vec!["10.244.0.0/24".parse().unwrap(), "fd00:244::/64".parse().unwrap()],
            cluster_cidrs: Vec::new(),
            service_cidrs: Vec::new(),
            node_ips: Vec::new(),
            mtu: Some(1450),
        };
        let (etc, leases) = (folder.path().join("net.d"), folder.path().join("leases"));
        let path = write(&network, &etc, &leases).unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["plugins"][0]["bridge"], "xb-main");
        assert_eq!(json["plugins"][0]["mtu"], 1450);
        assert_eq!(json["plugins"][0]["ipam"]["ranges"][1][0]["subnet"], "fd00:244::/64");
        assert_eq!(json["plugins"][1]["type"], "portmap");
        write(&network, &etc, &leases).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
        remove(&etc).unwrap();
        remove(&etc).unwrap();
        assert_eq!(std::fs::read_dir(&etc).unwrap().count(), 0);
    }
}
