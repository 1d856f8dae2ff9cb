//! Volumes, claims, and where they come from.

use super::cells::{self, NONE, UNSET};
use super::{AGE, NAME, Table, boolean, integer, text};
use crate::kinds::read::Read;
use crate::kinds::resources::quantity;
use crate::value::Value;

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub static VOLUMES: Table = Table {
    columns: &[
        NAME,
        text("Capacity", "How much fits."),
        text("Access Modes", "How it may be mounted."),
        text("Reclaim Policy", "What becomes of it after its claim."),
        text("Status", "Whether it is available, bound or released."),
        text("Claim", "Who has it."),
        text("StorageClass", "Where it comes from."),
        text("VolumeAttributesClass", "Its class of performance."),
        text("Reason", "Why it is in this state."),
        AGE,
        text("VolumeMode", "File system or block device.").wide(),
    ],
    cells: |volume, now| {
        let claim = volume.at("spec.claimRef");
        let claim = match claim.is_null() {
            true => String::new(),
            false => format!("{}/{}", claim.str_at("namespace"), claim.str_at("name")),
        };
        vec![
            cells::name(volume),
            quantity(volume.at("spec.capacity.storage")).to_string().into(),
            access_modes(volume, "spec.accessModes").into(),
            volume.str_at("spec.persistentVolumeReclaimPolicy").into(),
            phase(volume).into(),
            claim.into(),
            class(volume).into(),
            cells::pointer(volume, "spec.volumeAttributesClassName", UNSET).into(),
            volume.str_at("status.reason").into(),
            cells::age(volume, now),
            cells::pointer(volume, "spec.volumeMode", UNSET).into(),
        ]
    },
};

pub static CLAIMS: Table = Table {
    columns: &[
        NAME,
        text("Status", "Whether it is bound."),
        text("Volume", "What it is bound to."),
        text("Capacity", "How much fits."),
        text("Access Modes", "How it may be mounted."),
        text("StorageClass", "Where it comes from."),
        text("VolumeAttributesClass", "Its class of performance."),
        AGE,
        text("VolumeMode", "File system or block device.").wide(),
    ],
    cells: |claim, now| {
        let bound = claim.filled("spec.volumeName");
        let capacity = quantity(claim.at("status.capacity.storage")).to_string();
        vec![
            cells::name(claim),
            phase(claim).into(),
            claim.str_at("spec.volumeName").into(),
            if bound { capacity.into() } else { "".into() },
            if bound { access_modes(claim, "status.accessModes").into() } else { "".into() },
            class(claim).into(),
            cells::pointer(claim, "spec.volumeAttributesClassName", UNSET).into(),
            cells::age(claim, now),
            cells::pointer(claim, "spec.volumeMode", UNSET).into(),
        ]
    },
};

fn phase(object: &Value) -> &str {
    if object.has("metadata.deletionTimestamp") { "Terminating" } else { object.str_at("status.phase") }
}

fn class(object: &Value) -> &str {
    match object.entry("metadata.annotations", CLASS_ANNOTATION).as_str() {
        Some(class) => class,
        None => object.str_at("spec.storageClassName"),
    }
}

fn access_modes(object: &Value, path: &str) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| object.strings(path).any(|one| one == mode);
    let shown: Vec<&str> = SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    shown.join(",")
}

pub static STORAGE_CLASSES: Table = Table {
    columns: &[
        NAME,
        text("Provisioner", "Who makes the volumes."),
        text("ReclaimPolicy", "What becomes of volumes after their claim."),
        text("VolumeBindingMode", "When volumes are made."),
        text("AllowVolumeExpansion", "Whether volumes can grow."),
        AGE,
    ],
    cells: |class, now| {
        vec![
            cells::name(class),
            class.str_at("provisioner").into(),
            cells::pointer(class, "reclaimPolicy", "Delete").into(),
            cells::pointer(class, "volumeBindingMode", "Immediate").into(),
            class.flag("allowVolumeExpansion").into(),
            cells::age(class, now),
        ]
    },
};

pub static ATTRIBUTES_CLASSES: Table = Table {
    columns: &[NAME, text("DriverName", "Whose volumes it is for."), AGE],
    cells: |class, now| vec![cells::name(class), class.str_at("driverName").into(), cells::age(class, now)],
};

pub static ATTACHMENTS: Table = Table {
    columns: &[
        NAME,
        super::Column { format: "name", ..text("Attacher", "Who attaches.") },
        text("PV", "What is attached."),
        text("Node", "Where to."),
        boolean("Attached", "Whether it is."),
        AGE,
    ],
    cells: |attachment, now| {
        vec![
            cells::name(attachment),
            attachment.str_at("spec.attacher").into(),
            attachment.str_at("spec.source.persistentVolumeName").into(),
            attachment.str_at("spec.nodeName").into(),
            attachment.flag("status.attached").into(),
            cells::age(attachment, now),
        ]
    },
};

pub static CSI_NODES: Table = Table {
    columns: &[NAME, integer("Drivers", "How many drivers the node has."), AGE],
    cells: |node, now| vec![cells::name(node), (node.len_at("spec.drivers") as i64).into(), cells::age(node, now)],
};

pub static CSI_DRIVERS: Table = Table {
    columns: &[
        NAME,
        boolean("AttachRequired", "Whether volumes are attached before they are mounted."),
        boolean("PodInfoOnMount", "Whether the driver is told about pods."),
        boolean("StorageCapacity", "Whether the scheduler asks how much is left."),
        text("TokenRequests", "Audiences of tokens that the driver gets."),
        boolean("RequiresRepublish", "Whether volumes are published again from time to time."),
        text("Modes", "Persistent or ephemeral volumes."),
        AGE,
    ],
    cells: |driver, now| {
        let joined = |items: Vec<&str>, absent: &str| match items.is_empty() {
            true => Value::from(absent),
            false => items.join(",").into(),
        };
        let audiences: Vec<&str> =
            driver.array_at("spec.tokenRequests").iter().map(|request| request.str_at("audience")).collect();
        vec![
            cells::name(driver),
            driver.at("spec.attachRequired").as_bool().unwrap_or(true).into(),
            driver.flag("spec.podInfoOnMount").into(),
            driver.flag("spec.storageCapacity").into(),
            joined(audiences, UNSET),
            driver.flag("spec.requiresRepublish").into(),
            joined(driver.strings("spec.volumeLifecycleModes").collect(), NONE),
            cells::age(driver, now),
        ]
    },
};

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[test]
    fn a_bound_claim_shows_its_volume() {
        let claim = tree(
            json!({"metadata": {"name": "c"}, "spec": {"volumeName": "v", "storageClassName": "fast", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}}),
        );
        let row = (CLAIMS.cells)(&claim, Timestamp::UNIX_EPOCH);
        let shown: Vec<&str> = row.iter().map(|cell| cell.as_str().unwrap()).collect();
        assert_eq!(shown, ["c", "Bound", "v", "1Gi", "RWO,RWX", "fast", "<unset>", "<unknown>", "Filesystem"]);
    }
}
