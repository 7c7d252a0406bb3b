//! How much memory the process can still take: the least of what the machine has available and
//! what its control group (v2) allows. Linux alone; elsewhere nothing is known.

use std::fs;
use std::path::Path;

/// In bytes.
pub(crate) fn left() -> Option<u64> {
    let available = fs::read_to_string("/proc/meminfo").ok();
    let available = available.and_then(|text| available_of(&text));
    available.into_iter().chain(group_left()).min()
}

/// The line `MemAvailable:   123456 kB` of `/proc/meminfo` (proc_meminfo(5)).
fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Of the groups from that of the process up, the least (cgroups(7), "cgroup v2").
fn group_left() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    least_left(Path::new("/sys/fs/cgroup"), own)
}

fn least_left(root: &Path, own: &str) -> Option<u64> {
    let own = root.join(own);
    let up = own.ancestors().take_while(|group| group.starts_with(root));
    up.filter_map(left_in).min()
}

fn left_in(group: &Path) -> Option<u64> {
    let number = |file: &str| -> Option<u64> {
        let text = fs::read_to_string(group.join(file)).ok()?;
        // `max` where there is no limit.
        text.trim().parse().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:    4000 kB\nBuffers: 1 kB\n";
        assert_eq!(available_of(text), Some(4_096_000));
        assert_eq!(available_of("MemTotal: 8000 kB\n"), None);
        assert_eq!(available_of("MemAvailable: much kB\n"), None);
    }

    #[test]
    fn the_tightest_group_on_the_way_up_decides() {
        let root = std::env::temp_dir().join(format!("taskleak-cgroup-{}", std::process::id()));
        let limits = |group: &str, most: &str, current: &str| {
            let group = root.join(group);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("memory.max"), most).unwrap();
            fs::write(group.join("memory.current"), current).unwrap();
        };
        limits("pod/shop", "max\n", "70\n");
        assert_eq!(least_left(&root, "pod/shop"), None);
        limits("pod", "100\n", "80\n");
        assert_eq!(least_left(&root, "pod/shop"), Some(20));
        limits("pod/shop", "75\n", "80\n");
        assert_eq!(least_left(&root, "pod/shop"), Some(0));
        fs::remove_dir_all(&root).unwrap();
    }
}
