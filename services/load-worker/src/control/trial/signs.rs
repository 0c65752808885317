//! What a guest declares for a trial: which of its checks, failed in the first turn, mean that the plan is wrong.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::spy::Failed;

/// What stands under `x-gauntlet-trial` in the schema of a guest's configuration: an annotation, which says nothing of what is
/// valid. A guest without it has no trial.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::control) struct Trial {
    /// Merged into the scenario's configuration, so that the turn is a short one and leaves nothing open.
    pub(super) config: Option<Value>,
    /// A turn in which one of these is seen ends the run before its load.
    mistakes: Vec<Sign>,
}

/// A failed check that shows a mistake of the plan. What else is said narrows it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Sign {
    /// The check's name, or what stands in it before or behind a colon: `401` is `401: the server takes the credentials`.
    check: String,
    /// Names of the steps in which it is one; none = in any.
    #[serde(default)]
    steps: Vec<String>,
    /// Statuses of the answer with which it is one; none = with any.
    #[serde(default)]
    statuses: Vec<u32>,
    /// Type of the answer with which it is one, in lower case; absent = with any.
    content_type: Option<String>,
    /// What the user can do about it.
    mend: String,
}

impl Trial {
    /// Reads it from a configuration's schema.
    pub(in crate::control) fn read(schema: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Schema {
            #[serde(rename = "x-gauntlet-trial")]
            trial: Option<Value>,
        }
        // A guest may give a text that is no schema: then it declares nothing.
        let declared = serde_json::from_str::<Schema>(schema).ok()?.trial?;
        // With a condition that is not known here a sign would be found where it is none.
        Self::deserialize(declared)
            .inspect_err(|error| tracing::warn!(%error, "what a guest declares for trials is not understood: there is none"))
            .ok()
    }

    /// Of the failed checks those that are mistakes, each once, with their mends.
    pub(super) fn mistakes<'a>(&'a self, failed: &'a [Failed]) -> Vec<(&'a Failed, &'a str)> {
        let mut told = BTreeSet::new();
        let mut found = Vec::new();
        for failed in failed {
            if let Some(sign) = self.mistakes.iter().find(|sign| sign.is_seen_in(failed))
                && told.insert(&failed.check)
            {
                found.push((failed, sign.mend.as_str()));
            }
        }
        found
    }
}

impl Sign {
    fn is_seen_in(&self, failed: &Failed) -> bool {
        let name = &failed.check;
        let named = *name == self.check
            || name.strip_prefix(&self.check).is_some_and(|rest| rest.starts_with(": "))
            || name.strip_suffix(&self.check).is_some_and(|rest| rest.ends_with(": "));
        let asked = failed.asked.as_ref();
        let is = |any: bool, holds: bool| any || holds;
        named
            && is(self.steps.is_empty(), asked.is_some_and(|asked| self.steps.contains(&asked.step)))
            && is(self.statuses.is_empty(), asked.is_some_and(|asked| self.statuses.contains(&asked.status)))
            && self
                .content_type
                .as_ref()
                .is_none_or(|wanted| asked.is_some_and(|asked| asked.content_type == *wanted))
    }
}
