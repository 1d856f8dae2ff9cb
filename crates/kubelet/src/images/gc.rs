//! Which images go when the disk fills: unused ones, the longest unused first. Upstream: pkg/kubelet/images/image_gc_manager.go.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::cri::v1;

/// When images are removed.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Above this share of the disk, in percent.
    pub high_percent: u8,
    /// Down to this share, in percent.
    pub low_percent: u8,
    /// Younger ones stay.
    pub age_min: Duration,
    /// Unused for longer go whatever the disk says; zero is never.
    pub age_max: Duration,
}

/// When each image was first seen and last used; nanoseconds since 1970.
#[derive(Debug, Default)]
pub struct Ages(HashMap<String, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    first: i64,
    used: i64,
}

/// The disk the images are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes it holds.
    pub capacity: u64,
    /// Bytes that are free.
    pub available: u64,
}

impl Ages {
    /// Takes notice of what is there and what is used.
    pub fn update(&mut self, images: &[v1::Image], used: &HashSet<String>, now: i64) {
        self.0.retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in images {
            let seen = self.0.entry(image.id.clone()).or_insert(Seen { first: now, used: 0 });
            if is_used(image, used) {
                seen.used = now;
            }
        }
    }

    /// The ids to remove, in order, as far as the disk asks for it. `bytes` of an image are what its removal frees.
    pub fn plan(
        &self,
        images: &[v1::Image],
        used: &HashSet<String>,
        disk: Option<Disk>,
        policy: Policy,
        now: i64,
    ) -> Vec<String> {
        let seen = |image: &v1::Image| self.0.get(&image.id).copied().unwrap_or(Seen { first: now, used: now });
        let nanos = |age: Duration| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let mut candidates: Vec<&v1::Image> =
            images.iter().filter(|image| !image.pinned && !is_used(image, used)).collect();
        candidates.sort_by_key(|image| (seen(image).used, seen(image).first));
        let mut needed = disk.map_or(0, |disk| excess(disk, policy));
        let mut plan = Vec::new();
        for image in candidates {
            let seen = seen(image);
            let unused = now - seen.used.max(seen.first);
            let too_old = !policy.age_max.is_zero() && unused > nanos(policy.age_max);
            if too_old || (needed > 0 && now - seen.first >= nanos(policy.age_min)) {
                needed = needed.saturating_sub(image.size);
                plan.push(image.id.clone());
            }
        }
        plan
    }
}

fn is_used(image: &v1::Image, used: &HashSet<String>) -> bool {
    used.contains(&image.id) || image.repo_tags.iter().chain(&image.repo_digests).any(|name| used.contains(name))
}

/// How many bytes have to go.
fn excess(disk: Disk, policy: Policy) -> u64 {
    if disk.capacity == 0 {
        return 0;
    }
    let used = disk.capacity.saturating_sub(disk.available);
    let percent = u128::from(used) * 100 / u128::from(disk.capacity);
    if percent < u128::from(policy.high_percent) {
        return 0;
    }
    let goal = u128::from(disk.capacity) * u128::from(policy.low_percent) / 100;
    u64::try_from(u128::from(used).saturating_sub(goal)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const POLICY: Policy =
        Policy { high_percent: 85, low_percent: 80, age_min: Duration::from_secs(120), age_max: Duration::ZERO };

    fn image(id: &str, size: u64) -> v1::Image {
        v1::Image { id: id.into(), size, ..v1::Image::default() }
    }

    fn ages(images: &[v1::Image]) -> Ages {
        let mut ages = Ages::default();
        for (at, image) in images.iter().enumerate() {
            ages.update(images, &HashSet::from([image.id.clone()]), at as i64 * SECOND);
        }
        ages
    }

    #[test]
    fn the_longest_unused_goes_first_until_it_fits() {
        let images = [image("a", 6), image("b", 6), image("c", 6)];
        let disk = Some(Disk { capacity: 100, available: 10 });
        let used = HashSet::from(["a".to_owned()]);
        assert_eq!(ages(&images).plan(&images, &used, disk, POLICY, 1000 * SECOND), ["b", "c"]);
        let roomy = Some(Disk { capacity: 100, available: 16 });
        assert!(ages(&images).plan(&images, &used, roomy, POLICY, 1000 * SECOND).is_empty());
    }

    #[test]
    fn young_and_pinned_ones_stay() {
        let mut images = [image("a", 6), image("b", 6)];
        images[1].pinned = true;
        let disk = Some(Disk { capacity: 100, available: 1 });
        assert!(ages(&images).plan(&images, &HashSet::new(), disk, POLICY, 60 * SECOND).is_empty());
        assert_eq!(ages(&images).plan(&images, &HashSet::new(), disk, POLICY, 600 * SECOND), ["a"]);
    }

    #[test]
    fn what_is_unused_too_long_goes_anyway() {
        let images = [image("a", 6)];
        let policy = Policy { age_max: Duration::from_secs(60), ..POLICY };
        assert!(ages(&images).plan(&images, &HashSet::new(), None, policy, 30 * SECOND).is_empty());
        assert_eq!(ages(&images).plan(&images, &HashSet::new(), None, policy, 90 * SECOND), ["a"]);
    }
}
