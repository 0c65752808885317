//! Which faults may be at the same time.

use std::collections::BTreeSet;

use crate::model::{Fault, Most, RecipeKind, Target};

/// A fault that is there or about to come, and the instances that it hits.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// The fault.
    pub fault: &'a Fault,
    /// Indices of instances of its target; empty where the recipe hits the host.
    pub victims: &'a [u32],
}

/// Why a fault may not join those that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// What was found and what the limit is.
    pub message: String,
    /// What can be done.
    pub mend: String,
}

/// Why `next` may not come while all of `live` are there; `None` = it may. Faults of other targets than `target`, which
/// is `next`'s, do not matter.
///
/// On one instance, or on one target where it hits the host, a recipe is at most once at a time; faults of processes
/// exclude each other, for the end of one undoes the other (a killed process runs anew). Network faults of different
/// recipes may be together. Of the target's instances no more than its `most` are taken away at once
/// ([`crate::model::Recipe::takes_away`]).
#[must_use]
pub fn clash(target: &Target, live: &[Hit<'_>], next: &Hit<'_>) -> Option<Clash> {
    let live = || live.iter().filter(|hit| hit.fault.target == target.name);
    let (recipe, name) = (&next.fault.recipe, &target.name);
    for hit in live() {
        let other = &hit.fault.recipe;
        let shared = hit.victims.iter().find(|instance| next.victims.contains(instance));
        let place = match shared {
            Some(instance) => format!("the instance {instance} of {name}"),
            None if !recipe.has_victims() && !other.has_victims() => format!("the host of {name}"),
            None => continue,
        };
        let both_processes = recipe.kind() == RecipeKind::Process && other.kind() == RecipeKind::Process;
        if recipe.name() != other.name() && !both_processes {
            continue;
        }
        return Some(Clash {
            message: format!(
                "{} would hit {place} while {} ({}) does: the end of one would undo the other",
                recipe.name(),
                hit.fault.name,
                other.name()
            ),
            mend: "let one come after the other has ended".to_owned(),
        });
    }
    let taken = live()
        .chain([next])
        .filter(|hit| hit.fault.recipe.takes_away())
        .flat_map(|hit| hit.victims)
        .collect::<BTreeSet<_>>()
        .len();
    let most = target.chaos.unwrap_or(Most::All).of(target.urls.len());
    (recipe.takes_away() && taken > most).then(|| Clash {
        message: format!(
            "{taken} instances of {name} would be taken away at once, its `chaos` allows at most {most}"
        ),
        mend: "let one come after the other has ended, or raise `most` of the target".to_owned(),
    })
}
