//! What is in force: the experts and how they are asked.

use std::sync::{Arc, Mutex, PoisonError};

use consensus::Rules;
use resilience::budget::Budget;

use super::expert::Expert;
use super::member::Member;
use super::settings::{Settings, Vote};

/// A question keeps the circle that it began with, whatever is changed meanwhile.
pub(super) struct Circle {
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    pub(super) vote: consensus::Vote,
    pub(super) experts: Vec<Expert>,
    budget: Option<Arc<Mutex<Budget>>>,
}

impl Circle {
    /// # Errors
    /// The member that cannot be asked, and why.
    pub(super) fn new(
        members: Vec<Member>,
        settings: Settings,
        max_tokens: u32,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let weights = members.iter().map(Member::thousandths).collect();
        let known = before.map_or(&[][..], |before| &before.experts);
        let experts = members.into_iter().map(|member| {
            let known = known.iter().find(|known| known.member.is_same(&member));
            let url = member.url.clone();
            Expert::new(member, &settings, max_tokens, known).map_err(|problem| format!("{url}: {problem}"))
        });
        let experts = experts.collect::<Result<_, _>>()?;
        let same = before.filter(|before| before.settings.retry_budget == settings.retry_budget);
        let budget = match same {
            Some(before) => before.budget.clone(),
            None => settings.retry_budget.map(|budget| Arc::new(Mutex::new(Budget::new(budget.into())))),
        };
        Ok(Self { rules: settings.rules(weights), vote: settings.vote(), experts, budget, settings })
    }

    /// The members, as they were given.
    pub(super) fn members(&self) -> Vec<Member> {
        self.experts.iter().map(|expert| expert.member.clone()).collect()
    }

    /// Calls begin: they pay for retries.
    pub(super) fn pay(&self, calls: usize) {
        if let Some(budget) = &self.budget {
            let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
            (0..calls).for_each(|_| budget.request());
        }
    }

    /// Whether the budget has a retry left, which is taken.
    pub(super) fn affords_retry(&self) -> bool {
        let Some(budget) = &self.budget else { return true };
        budget.lock().unwrap_or_else(PoisonError::into_inner).retry()
    }

    /// Retries that the budget refused.
    pub(super) fn retries_refused(&self) -> u64 {
        self.budget
            .as_ref()
            .map_or(0, |budget| budget.lock().unwrap_or_else(PoisonError::into_inner).refused())
    }

    /// A label in words: the choice as it was written, or what the voter said.
    pub(super) fn words(&self, label: u64, said: &str) -> String {
        let choice = match &self.settings.vote {
            Vote::Choices(choices) => {
                usize::try_from(label).ok().and_then(|place| choices.get(place.checked_sub(1)?))
            }
            Vote::Rule(_) => None,
        };
        choice.map_or_else(|| said.trim().to_owned(), Clone::clone)
    }
}
