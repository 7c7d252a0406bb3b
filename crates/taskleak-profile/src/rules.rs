//! The allow rules of a process, and which of them have matched: a list of exceptions must not rot.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::allow::Allow;
use crate::snapshot::Group;

/// Allow rules, each with whether it has ever matched.
#[derive(Debug, Default)]
pub struct Rules {
    each: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    allow: Allow,
    has_matched: AtomicBool,
}

impl Rules {
    /// The rules that have matched no group so far.
    pub fn unmatched(&self) -> impl Iterator<Item = &Allow> {
        let unmatched = |rule: &&Rule| !rule.has_matched.load(Ordering::Relaxed);
        self.each.iter().filter(unmatched).map(|rule| &rule.allow)
    }

    /// The group with what allows it. An allowed group has no verdict.
    pub(crate) fn applied(&self, mut group: Group) -> Group {
        // Every one is asked, so that all that match are known to.
        for rule in &self.each {
            if rule.allow.matches(&group) {
                rule.has_matched.store(true, Ordering::Relaxed);
                group.allowed.get_or_insert_with(|| rule.allow.to_string());
            }
        }
        if group.allowed.is_some() {
            group.verdict = None;
        }
        group
    }
}

impl FromIterator<Allow> for Rules {
    fn from_iter<I: IntoIterator<Item = Allow>>(rules: I) -> Self {
        let rule = |allow| Rule {
            allow,
            has_matched: AtomicBool::new(false),
        };
        Self {
            each: rules.into_iter().map(rule).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;
    use crate::snapshot::Verdict;

    #[test]
    fn an_allowed_group_has_no_verdict_and_says_what_allows_it() {
        let rules: Rules = ["name=heartbeat", "name=nobody", "wait=nothing"]
            .iter()
            .map(|rule| rule.parse().unwrap())
            .collect();
        let verdict = Verdict {
            level: "suspect".to_owned(),
            evidence: Vec::new(),
            tasks: 1,
        };
        let unmatched = || -> Vec<String> { rules.unmatched().map(ToString::to_string).collect() };
        assert_eq!(unmatched().len(), 3);
        for mut group in sample::snapshot().groups {
            let is_heartbeat = group.name == "heartbeat";
            group.verdict = Some(verdict.clone());
            let applied = rules.applied(group);
            let expected = is_heartbeat.then_some("name=heartbeat");
            assert_eq!(applied.allowed.as_deref(), expected);
            assert_eq!(applied.verdict.is_none(), is_heartbeat);
        }
        assert_eq!(unmatched(), ["name=nobody"]);
    }
}
