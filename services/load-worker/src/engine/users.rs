//! Which users of a scenario are free.

/// The free ones among users 0 … n − 1: taking any, taking a certain one and giving back cost the same few steps.
#[derive(Debug, Default)]
pub(crate) struct FreeUsers {
    free: Vec<u32>,
    /// Place of each user in `free`; `u32::MAX` = taken.
    place: Vec<u32>,
}

impl FreeUsers {
    /// All of `n` are free.
    pub(crate) fn new(n: u32) -> Self {
        Self { free: (0..n).rev().collect(), place: (0..n).rev().collect() }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.free.len()).unwrap_or(u32::MAX)
    }

    /// The free ones, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.free.iter().copied()
    }

    pub(crate) fn is_free(&self, user: u32) -> bool {
        self.place.get(user as usize).is_some_and(|place| *place != u32::MAX)
    }

    /// Takes the preferred user, else any that is free.
    pub(crate) fn take(&mut self, preferred: u32) -> Option<u32> {
        let user = if self.is_free(preferred) { preferred } else { *self.free.last()? };
        let place = self.place[user as usize];
        self.free.swap_remove(place as usize);
        if let Some(moved) = self.free.get(place as usize) {
            self.place[*moved as usize] = place;
        }
        self.place[user as usize] = u32::MAX;
        Some(user)
    }

    pub(crate) fn give_back(&mut self, user: u32) {
        if let Some(place) = self.place.get_mut(user as usize)
            && *place == u32::MAX
        {
            *place = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
            self.free.push(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_is_taken_once() {
        let mut users = FreeUsers::new(5);
        assert_eq!(users.take(3), Some(3));
        assert_eq!(users.take(3), Some(1));
        assert_eq!(users.take(4), Some(4));
        users.give_back(3);
        users.give_back(3);
        let mut rest = [users.take(9).unwrap(), users.take(9).unwrap(), users.take(9).unwrap()];
        rest.sort_unstable();
        assert_eq!((rest, users.take(0), users.count()), ([0, 2, 3], None, 0));
    }
}
