//! Schedules of sequences that say one token each time they catch up.

use super::*;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { slots: 3, rows: 8, bytes: 1000, alike: None, outgrows: false };

fn job(id: usize, tokens: usize) -> Job {
    Job { id, tokens, cache: 10, answer: 0 }
}

fn schedule(limits: Limits, jobs: &[Job]) -> Schedule {
    let mut schedule = Schedule::new(limits);
    assert!(jobs.iter().all(|job| schedule.add(*job)));
    schedule
}

/// Who computes what in a step.
fn ranges(parts: &[Part]) -> Vec<(usize, Range<usize>)> {
    parts.iter().map(|part| (part.id, part.tokens.clone())).collect()
}

/// Runs all, each sequence until it has said `says` tokens, and returns the steps.
fn run(mut schedule: Schedule, says: usize) -> Vec<Vec<Part>> {
    let (mut steps, mut said) = (Vec::new(), BTreeMap::<usize, usize>::new());
    while let Some(parts) = schedule.step() {
        for part in parts.iter().filter(|part| part.catches_up) {
            let said = said.entry(part.id).or_default();
            *said += 1;
            match *said == says {
                true => drop(schedule.ended(part.id)),
                false => schedule.goes_on(part.id, 1),
            }
        }
        steps.push(parts);
    }
    steps
}

#[test]
fn prompts_are_read_in_pieces_beside_those_that_speak() {
    let steps = run(schedule(LIMITS, &[job(0, 3), job(1, 12), job(2, 2)]), 3);
    let expected: [&[(usize, Range<usize>)]; 5] = [
        &[(0, 0..3), (1, 0..5)],
        &[(0, 3..4), (1, 5..12)],
        &[(0, 4..5), (1, 12..13), (2, 0..2)],
        &[(1, 13..14), (2, 2..3)],
        &[(2, 3..4)],
    ];
    let found: Vec<_> = steps.iter().map(|parts| ranges(parts)).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_token_is_computed_once_and_in_order_whatever_the_limits() {
    for slots in [1, 2, 5] {
        for rows in [1, 3, 7, 64] {
            let jobs: Vec<Job> = (0..9).map(|id| job(id, 1 + id * 5 % 13)).collect();
            let steps = run(schedule(Limits { slots, rows, ..LIMITS }, &jobs), 4);
            let mut computed = BTreeMap::new();
            for parts in &steps {
                assert!(parts.len() <= slots);
                let all: usize = parts.iter().map(|part| part.tokens.len()).sum();
                assert!((1..=rows.max(slots)).contains(&all), "{all} rows");
                for part in parts {
                    let end = computed.entry(part.id).or_insert(0);
                    assert_eq!(part.tokens.start, *end);
                    *end = part.tokens.end;
                }
            }
            // The last token said is computed by nobody.
            assert!(jobs.iter().all(|job| computed[&job.id] == job.tokens + 3));
        }
    }
}

#[test]
fn a_prompt_is_read_on_however_many_speak() {
    let jobs = [job(0, 1), job(1, 1), job(2, 40)];
    let steps = run(schedule(Limits { rows: 1, ..LIMITS }, &jobs), 200);
    let read = |parts: &Vec<Part>| parts.iter().any(|part| part.id == 2);
    let first = steps.iter().position(read).expect("a step with the prompt");
    // From then on a row of each step is the prompt's.
    assert!(first <= 2);
    let said = steps.iter().position(|parts| parts.iter().any(|p| p.id == 2 && p.catches_up));
    assert_eq!(said, Some(first + 39));
}

#[test]
fn the_first_that_waits_is_admitted_first_even_if_another_would_fit() {
    let large = Job { cache: 900, ..job(1, 4) };
    let mut schedule = schedule(LIMITS, &[Job { cache: 200, ..job(0, 4) }, large, job(2, 4)]);
    let ids = |parts: Vec<Part>| parts.iter().map(|part| part.id).collect::<Vec<_>>();
    assert_eq!(schedule.step().map(ids), Some(vec![0]));
    assert_eq!(schedule.ended(0), Some(0));
    assert_eq!(schedule.step().map(ids), Some(vec![1, 2]));
}

#[test]
fn room_is_set_aside_until_a_sequence_ends_and_its_answer_is_written() {
    let job = |id| Job { id, tokens: 1, cache: 300, answer: 200 };
    let mut schedule = schedule(LIMITS, &[job(0), job(1), job(2), job(3)]);
    assert_eq!(schedule.step().map(|parts| parts.len()), Some(2));
    // 700 of 1000 are taken: the answer of 1 waits for that of 0.
    assert_eq!(schedule.ended(1), Some(1));
    assert_eq!(schedule.step().map(|parts| parts.len()), Some(1));
    assert_eq!(schedule.ended(0), Some(0));
    schedule.written(400);
    assert_eq!(schedule.step().map(|parts| parts.len()), Some(2));
    assert!(!schedule.add(Job { cache: 801, ..job(4) }));
    assert!(schedule.add(Job { cache: 800, ..job(4) }));
}

#[test]
fn what_is_too_long_to_be_read_in_pieces_is_read_whole() {
    let limits = Limits { alike: Some(10), rows: 4, ..LIMITS };
    let steps = run(schedule(limits, &[job(0, 11), job(1, 10)]), 2);
    let found: Vec<_> = steps.iter().map(|parts| ranges(parts)).collect();
    let expected: [&[(usize, Range<usize>)]; 5] =
        [&[(0, 0..11)], &[(0, 11..12), (1, 0..3)], &[(1, 3..7)], &[(1, 7..10)], &[(1, 10..11)]];
    assert_eq!(found, expected);
}

#[test]
fn a_sequence_that_outgrows_what_is_kept_of_it_begins_again() {
    let limits = Limits { alike: Some(10), outgrows: true, rows: 4, ..LIMITS };
    let steps = run(schedule(limits, &[job(0, 9)]), 4);
    let last: Vec<_> = steps.iter().rev().take(3).rev().flatten().cloned().collect();
    let part = |tokens, again| Part { id: 0, tokens, catches_up: true, again, drafted: 0 };
    assert_eq!(last, [part(9..10, false), part(0..11, true), part(11..12, false)]);
}
