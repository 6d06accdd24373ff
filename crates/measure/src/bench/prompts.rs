//! Prompts that no text is needed for.

use llmopt_run::SplitMix64;

/// `count` prompts of random tokens below `vocabulary`. The first ones do not depend on how many there are.
pub(super) fn prompts(seed: u64, count: usize, length: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let token = |random: &mut SplitMix64| (random.next_u64() % vocabulary.max(1) as u64) as u32;
    let prompt = |number: usize| {
        let mut random = SplitMix64::new(seed).forked(number as u64);
        (0..length).map(|_| token(&mut random)).collect()
    };
    (0..count).map(prompt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_depend_on_the_seed_and_their_number_alone() {
        let all = prompts(7, 3, 50, 96);
        assert_eq!(prompts(7, 2, 50, 96), all[..2]);
        assert_ne!(prompts(8, 1, 50, 96), all[..1]);
        assert_ne!(all[0], all[1]);
        assert!(all.iter().all(|prompt| prompt.len() == 50));
        assert!(all.iter().flatten().all(|token| *token < 96));
    }
}
