//! `tributary sbom`: what this build is made of, as CycloneDX JSON, from the lock
//! file that it was built with. Needs no network and no Cargo, so that whoever has
//! the binary can ask it.
//!
//! The lock says nothing of platforms and features: crates for another platform,
//! or of a feature that is off, are listed too. What only tests use is not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{Failure, Kind};
use super::say;

const LOCK: &str = include_str!("../../Cargo.lock");
/// The members of the workspace that the binary is built of.
const MEMBERS: &[&str] = &[include_str!("../../Cargo.toml"), include_str!("../../migrations/Cargo.toml")];

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Package {
    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// Prints it.
pub(super) fn run() -> Result<(), Failure> {
    let document = document(LOCK, MEMBERS).map_err(|error| Failure::of(Kind::Failed, &error))?;
    say(format_args!("{document:#}"));
    Ok(())
}

fn document(lock: &str, members: &[&str]) -> Result<Value, toml::de::Error> {
    let Lock { package } = toml::from_str(lock)?;
    let wanted = members.iter().map(|member| named(member)).collect::<Result<BTreeMap<_, _>, _>>()?;
    let root = package.iter().find(|package| package.name == env!("CARGO_PKG_NAME"));
    let Some(root) = root else { return Ok(Value::Null) };
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut components = BTreeMap::new();
    let mut left = vec![root];
    while let Some(next) = left.pop() {
        if edges.contains_key(&next.reference()) {
            continue;
        }
        let used: Vec<&Package> = next
            .dependencies
            .iter()
            .filter_map(|text| found(&package, text))
            // Of our own members, not what only their tests use.
            .filter(|used| wanted.get(&next.name).is_none_or(|wanted| wanted.contains(&used.name)))
            .collect();
        edges.insert(next.reference(), used.iter().map(|used| used.reference()).collect());
        if next.name != root.name {
            components.insert(next.reference(), component(next));
        }
        left.extend(used);
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root.reference(),
                "name": root.name,
                "version": root.version,
                "purl": root.reference(),
                "licenses": [{ "license": { "id": env!("CARGO_PKG_LICENSE") } }],
            },
            "properties": [{
                "name": "tributary:from",
                "value": "Cargo.lock, with crates of all platforms and features, without those of tests alone",
            }],
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": edges
            .into_iter()
            .map(|(reference, used)| json!({ "ref": reference, "dependsOn": used }))
            .collect::<Vec<_>>(),
    }))
}

fn component(package: &Package) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": package.reference(),
        "name": package.name,
        "version": package.version,
        "purl": package.reference(),
    });
    if let Some(checksum) = &package.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// The package of a line `name`, `name version` or `name version (source)`.
fn found<'p>(packages: &'p [Package], line: &str) -> Option<&'p Package> {
    let mut words = line.split(' ');
    let (name, version) = (words.next()?, words.next());
    packages.iter().find(|package| package.name == name && version.is_none_or(|version| package.version == version))
}

/// A member's name, and what it names as dependencies of itself or its build.
fn named(manifest: &str) -> Result<(String, BTreeSet<String>), toml::de::Error> {
    let manifest: toml::Table = toml::from_str(manifest)?;
    let name = manifest["package"]["name"].as_str().unwrap_or_default().to_owned();
    let tables = ["dependencies", "build-dependencies"].into_iter().filter_map(|table| manifest.get(table)?.as_table());
    let named = tables.flatten().map(|(name, given)| {
        let renamed = given.get("package").and_then(toml::Value::as_str);
        renamed.unwrap_or(name).to_owned()
    });
    Ok((name, named.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_leads_to_a_component_and_what_tests_use_is_not_there() {
        let document = document(LOCK, MEMBERS).unwrap();
        let components = document["components"].as_array().unwrap();
        let names: BTreeSet<&str> = components.iter().map(|found| found["name"].as_str().unwrap()).collect();
        for there in ["tantivy", "tonic", "migrations", "sea-orm-migration", "prost"] {
            assert!(names.contains(there), "{there}");
        }
        for absent in ["reqwest", "proptest", "tributary"] {
            assert!(!names.contains(absent), "{absent}");
        }
        let known: BTreeSet<&str> = components
            .iter()
            .map(|found| found["bom-ref"].as_str().unwrap())
            .chain(document["metadata"]["component"]["bom-ref"].as_str())
            .collect();
        let dependencies = document["dependencies"].as_array().unwrap();
        assert_eq!(dependencies.len(), known.len());
        for dependency in dependencies {
            for used in dependency["dependsOn"].as_array().unwrap() {
                assert!(known.contains(used.as_str().unwrap()), "{used}");
            }
        }
        let without_hash = components.iter().filter(|found| found.get("hashes").is_none());
        assert_eq!(without_hash.map(|found| found["name"].as_str().unwrap()).collect::<Vec<_>>(), ["migrations"]);
    }
}
