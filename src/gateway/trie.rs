//! Finds the template of a path: literal before `*` before `**` at each
//! segment, from left to right, with backtracking.

use std::collections::HashMap;

use crate::gateway::path::{self, PathSegment};
use crate::gateway::template::{Segment, Template};

/// All templates, by their segments. Routes of one template with different
/// HTTP methods share a leaf.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    any: Option<Box<Node>>,
    rests: Vec<Tail>,
    leaves: Vec<Leaf>,
}

/// What follows a `**`: literals only, the longest first.
#[derive(Debug)]
struct Tail {
    suffix: Vec<String>,
    leaves: Vec<Leaf>,
}

#[derive(Debug)]
struct Leaf {
    verb: Option<String>,
    routes: Vec<usize>,
}

/// A path's segments, with its verb cut off or not.
#[derive(Clone, Copy)]
struct Wanted<'path> {
    segments: &'path [PathSegment],
    last: Option<&'path str>,
    verb: Option<&'path str>,
}

impl Trie {
    pub(super) fn new<'templates>(templates: impl Iterator<Item = &'templates Template>) -> Self {
        let mut trie = Self::default();
        for (index, template) in templates.enumerate() {
            trie.root.insert(template, index);
        }
        trie
    }

    /// Calls `found` with the routes of each matching template, the best first,
    /// until it answers something.
    pub(super) fn search<T>(
        &self,
        segments: &[PathSegment],
        mut found: impl FnMut(&[usize]) -> Option<T>,
    ) -> Option<T> {
        let last = segments.last();
        // The longest verb first: `:a:b` before `:b`. An escaped colon is text.
        for (stem, verb) in last.into_iter().flat_map(|last| splits(&last.raw)) {
            let wanted = Wanted { segments, last: Some(&stem), verb: Some(&verb) };
            if let Some(answer) = self.root.search(wanted, 0, &mut found) {
                return Some(answer);
            }
        }
        let last = last.map(|last| last.text.as_str());
        self.root.search(Wanted { segments, last, verb: None }, 0, &mut found)
    }
}

impl Node {
    fn insert(&mut self, template: &Template, index: usize) {
        let mut node = self;
        let segments = template.segments();
        for (position, segment) in segments.iter().enumerate() {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
                Segment::Rest => {
                    let suffix = segments[position + 1..].iter().map(Segment::to_string).collect();
                    return add(node.tail(suffix), template.verb(), index);
                }
            };
        }
        add(&mut node.leaves, template.verb(), index);
    }

    fn tail(&mut self, suffix: Vec<String>) -> &mut Vec<Leaf> {
        let position = match self.rests.iter().position(|tail| tail.suffix == suffix) {
            Some(position) => position,
            None => {
                let position = self.rests.partition_point(|tail| tail.suffix.len() >= suffix.len());
                self.rests.insert(position, Tail { suffix, leaves: Vec::new() });
                position
            }
        };
        &mut self.rests[position].leaves
    }

    fn search<T>(&self, wanted: Wanted<'_>, depth: usize, found: &mut impl FnMut(&[usize]) -> Option<T>) -> Option<T> {
        match wanted.at(depth) {
            None => {
                if let Some(answer) = pick(&self.leaves, wanted.verb, found) {
                    return Some(answer);
                }
            }
            Some(segment) => {
                let literal = self.literals.get(segment);
                for next in literal.into_iter().chain(self.any.as_deref()) {
                    if let Some(answer) = next.search(wanted, depth + 1, found) {
                        return Some(answer);
                    }
                }
            }
        }
        self.rests
            .iter()
            .filter(|tail| wanted.ends_with(depth, &tail.suffix))
            .find_map(|tail| pick(&tail.leaves, wanted.verb, found))
    }
}

impl Wanted<'_> {
    fn at(&self, index: usize) -> Option<&str> {
        if index + 1 == self.segments.len() {
            self.last
        } else {
            self.segments.get(index).map(|segment| segment.text.as_str())
        }
    }

    fn ends_with(&self, depth: usize, suffix: &[String]) -> bool {
        let remaining = self.segments.len() - depth;
        remaining >= suffix.len()
            && suffix.iter().rev().enumerate().all(|(back, text)| self.at(self.segments.len() - 1 - back) == Some(text))
    }
}

/// Each way to cut a verb off a segment, decoded.
fn splits(raw: &str) -> impl Iterator<Item = (String, String)> {
    raw.match_indices(':').filter_map(|(index, _)| {
        let (stem, verb) = (path::decode(&raw[..index])?, path::decode(&raw[index + 1..])?);
        (!stem.is_empty()).then_some((stem, verb))
    })
}

fn add(leaves: &mut Vec<Leaf>, verb: Option<&str>, index: usize) {
    match leaves.iter_mut().find(|leaf| leaf.verb.as_deref() == verb) {
        Some(leaf) => leaf.routes.push(index),
        None => leaves.push(Leaf { verb: verb.map(str::to_owned), routes: vec![index] }),
    }
}

fn pick<T>(leaves: &[Leaf], verb: Option<&str>, found: &mut impl FnMut(&[usize]) -> Option<T>) -> Option<T> {
    leaves.iter().find(|leaf| leaf.verb.as_deref() == verb).and_then(|leaf| found(&leaf.routes))
}
