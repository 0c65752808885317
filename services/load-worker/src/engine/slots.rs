//! Numbered places that keep their buffers when they are freed: the memory of what comes and goes.

/// Names a place and the use of it that is meant; outlives the use without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    live: bool,
    value: T,
}

/// Places for `T`. A freed place keeps its value, so that vectors in it are used again.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Takes a place; its value is what was left there, or the default.
    pub(crate) fn take(&mut self) -> (Key, &mut T)
    where
        T: Default,
    {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            self.slots.push(Slot { generation: 0, live: false, value: T::default() });
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.live = true;
        (Key { index, generation: slot.generation }, &mut slot.value)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.live && slot.generation == key.generation).then_some(&slot.value)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.live && slot.generation == key.generation).then_some(&mut slot.value)
    }

    /// The key of the present use of a place.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        slot.live.then_some(Key { index, generation: slot.generation })
    }

    /// Frees a place; keys of this use find nothing from now on.
    pub(crate) fn free(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key.index as usize)
            && slot.live
            && slot.generation == key.generation
        {
            slot.live = false;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(key.index);
        }
    }

    /// The keys of all places in use.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let places = 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        places.filter_map(|index| self.key_at(index)).collect()
    }

    /// How many places are in use.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_own_use_only() {
        let mut slots: Slots<Vec<u8>> = Slots::new();
        let (first, value) = slots.take();
        value.extend_from_slice(b"kept");
        slots.free(first);
        slots.free(first);
        assert_eq!(slots.get(first), None);
        let (second, value) = slots.take();
        assert_eq!((&value[..], second.index), (&b"kept"[..], first.index));
        assert_ne!(first, second);
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.key_at(0), Some(second));
        let (third, _) = slots.take();
        assert_eq!(slots.keys(), [second, third]);
        slots.free(second);
        assert_eq!(slots.keys(), [third]);
    }
}
