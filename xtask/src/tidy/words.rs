//! What no tracked file may say.

use crate::repository::{command, output, root};
use anyhow::Result;
use std::fs;

/// Folders of somebody's machine. Without their slashes, so that this file passes.
const MACHINE: [&str; 3] = ["work", "root", "home"];

/// Hosts of package registries, likewise without their dots: the clients know them.
const HOSTS: [&[&str]; 8] = [
    &["crates", "io"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["registry", "npmjs", "org"],
    &["proxy", "golang", "org"],
    &["deb", "debian", "org"],
    &["download", "pytorch", "org"],
    &["repo", "maven", "apache", "org"],
];

pub(super) fn faults(files: &[String]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    if output(&mut command("git", &["ls-files", "Cargo.lock"]))?.trim().is_empty() {
        faults.push("Cargo.lock is not committed".to_owned());
    }
    // Cargo.lock names the registry of every package; cargo writes it so.
    for path in files.iter().filter(|path| *path != "Cargo.lock") {
        if let Ok(text) = String::from_utf8(fs::read(root().join(path))?) {
            faults.extend(of_text(path, &text));
        }
    }
    Ok(faults)
}

fn of_text(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let machine = MACHINE.iter().map(|folder| format!("/{folder}/"));
        let found = machine.filter(|folder| names_folder(line, folder));
        let hosts = HOSTS.iter().map(|parts| parts.join("."));
        let found = found.chain(hosts.filter(|host| line.contains(host.as_str())));
        faults.extend(found.map(|what| format!("{path}:{}: `{what}`", number + 1)));
    }
    faults
}

/// Whether an absolute path in `line` begins with `folder`.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '~' | '>'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_folders_and_hosts_are_found_and_lookalikes_are_not() {
        let host = HOSTS[0].join(".");
        let machine = format!("/{}/x", MACHINE[0]);
        let faults = of_text("a", &format!("fine\nsee {host}\ncd {machine}"));
        assert_eq!(faults, [format!("a:2: `{host}`"), format!("a:3: `/{}/`", MACHINE[0])]);
        assert!(of_text("a", &format!("frame{machine} ..{machine} {{root}}{machine}")).is_empty());
    }
}
