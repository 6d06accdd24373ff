//! Whatever the stages of a sweep, each group sees what a plain run of the model computes there.

use llmopt_arch::program::{Phase, Program};
use llmopt_forward::{Engine, Weights};
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_model::Variant;
use llmopt_rewrite::{BlockRuns, Context, Group, Part, Seen, Stage, Step, Streams, Sweep};
use llmopt_run::{Cancel, Error, Silent};
use llmopt_sweep::{Batches, Meter, Runner, Store, Work, carried_width, embedded, judging};
use std::path::Path;
use std::sync::Mutex;

/// A stage that rewrites nothing, and keeps what it is shown.
struct Looking<'a> {
    variant: &'a Variant,
    context: Context<'a>,
    compares: bool,
    as_found: bool,
    /// Whether it looks in front of each phase, and not behind it.
    in_front: bool,
    /// Of each phase: hidden states of the artifact, and of the model before.
    seen: Mutex<Vec<Behind>>,
    phases: usize,
}

/// Hidden states behind a phase, batch after batch.
#[derive(Clone, Debug, Default, PartialEq)]
struct Behind {
    rewritten: Vec<f32>,
    before: Vec<f32>,
}

impl Stage for Looking<'_> {
    fn context(&self) -> &Context<'_> {
        &self.context
    }
    fn found(&self) -> &Variant {
        self.variant
    }
    fn written(&self) -> &Variant {
        self.variant
    }
    fn written_weights(&self, phase: &Phase) -> Result<Weights, Error> {
        self.variant.weights(phase, self.context.engine.gemm())
    }
    fn compares(&self) -> bool {
        self.compares
    }
    fn is_done(&self) -> bool {
        self.seen.lock().expect("no panic").len() == self.phases
    }
    fn steps(&self, block: usize, phase: usize) -> Result<Vec<Step>, Error> {
        let phase = self.variant.program().blocks[block].phases[phase].clone();
        let part = |phase: Phase, group| Part { found: vec![phase.clone()], written: phase, group };
        let nothing =
            Phase { operations: Vec::new(), carried: vec![Program::HIDDEN], ..phase.clone() };
        let parts = match self.in_front {
            true => vec![part(nothing, Some(0)), part(phase, None)],
            false => vec![part(phase, Some(0))],
        };
        Ok(vec![Step { as_found: self.as_found, parts }])
    }
    fn group(&self, _: usize) -> Box<dyn Group + '_> {
        Box::new(Kept { seen: &self.seen, behind: Behind::default() })
    }
}

struct Kept<'s> {
    seen: &'s Mutex<Vec<Behind>>,
    behind: Behind,
}

impl Group for Kept<'_> {
    fn add(&mut self, seen: Seen<'_>) -> Result<(), Error> {
        let hidden = seen.taps.hidden().expect("every phase carries it");
        self.behind.rewritten.extend(hidden.values());
        if let Some(before) = seen.before {
            self.behind.before.extend(before.hidden(seen.batch)?.values());
        }
        Ok(())
    }
    fn rewrite(self: Box<Self>, _: Streams<'_>) -> Result<(), Error> {
        self.seen.lock().expect("no panic").push(self.behind);
        Ok(())
    }
}

struct Model {
    variant: Variant,
    engine: Engine,
    batches: Batches,
    cancel: Cancel,
}

impl Model {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama");
        let gemm = Gemm::new(Precision::F32, KernelChoice::Portable).expect("it is everywhere");
        let windows: Vec<Vec<u32>> = (0..3).map(|first| (first..first + 20).collect()).collect();
        Self {
            variant: Variant::open(&path).expect("a model"),
            engine: Engine::new(gemm),
            batches: judging(&windows),
            cancel: Cancel::new(),
        }
    }

    fn looking(&self, compares: bool, as_found: bool) -> Looking<'_> {
        let program = self.variant.program();
        Looking {
            variant: &self.variant,
            context: Context {
                batches: &self.batches,
                engine: &self.engine,
                cancel: &self.cancel,
                meter: Meter::new(&Silent, Work::default()),
                spill: None,
                width: carried_width(program),
            },
            compares,
            as_found,
            in_front: false,
            seen: Mutex::default(),
            phases: program.blocks.iter().map(|block| block.phases.len()).sum(),
        }
    }

    /// Hidden states behind each phase.
    fn plain(&self) -> Vec<Vec<f32>> {
        let Self { variant, engine, batches, cancel } = self;
        let meter = &Meter::new(&Silent, Work::default());
        let runner = Runner { variant, batches, engine, cancel, meter, times: 1.0 };
        let store = Store::new(variant.program(), batches, None).expect("memory");
        let mut store = embedded(variant, batches, store).expect("an embedding");
        let mut behind = Vec::new();
        for phase in variant.program().blocks.iter().flat_map(|block| &block.phases) {
            let weights = variant.weights(phase, engine.gemm()).expect("weights");
            runner.run(phase, &weights, &mut store).expect("it runs");
            let mut values = Vec::new();
            for batch in 0..batches.len() {
                values.extend(store.hidden(batch).expect("it is there").values());
            }
            behind.push(values);
        }
        behind
    }
}

/// Runs stages that compare or not, and see phases as they were found or not. How often their streams ran the
/// blocks?
#[track_caller]
fn check(stages: &[(bool, bool)], shares: bool, expected: &[(Option<f64>, f64)]) {
    let model = Model::open();
    let stages: Vec<Looking<'_>> =
        stages.iter().map(|&(compares, as_found)| model.looking(compares, as_found)).collect();
    let list = stages.iter().map(|stage| stage as &dyn Stage).collect();
    let runs = Sweep { stages: list, shares }.run().expect("it runs");
    for stage in &stages {
        let behind = |values: Vec<f32>| {
            let before = if stage.compares { values.clone() } else { Vec::new() };
            Behind { rewritten: values, before }
        };
        let plain: Vec<Behind> = model.plain().into_iter().map(behind).collect();
        assert!(*stage.seen.lock().expect("no panic") == plain, "other hidden states");
    }
    let expected =
        expected.iter().map(|&(original, rewritten)| Some(BlockRuns { original, rewritten }));
    assert_eq!(runs, expected.collect::<Vec<_>>());
}

/// What one stage adds to a sweep: a stream, that goes through the blocks once.
#[test]
fn a_stage_alone_runs_each_stream_once() {
    check(&[(false, false)], false, &[(None, 1.0)]);
    check(&[(true, false)], false, &[(Some(1.0), 1.0)]);
}

/// The last phase is not run again: nothing is behind it.
#[test]
fn what_is_seen_as_it_was_found_is_run_again_as_it_was_rewritten() {
    let model = Model::open();
    let stage = model.looking(true, true);
    let runs = Sweep { stages: vec![&stage], shares: false }.run().expect("it runs");
    let seen = stage.seen.lock().expect("no panic");
    for (seen, plain) in seen.iter().zip(model.plain()) {
        assert!(seen.before == plain && seen.rewritten == plain, "other hidden states");
    }
    let runs = runs[0].expect("it ran").rewritten;
    assert!(runs > 1.5 && runs < 2.0, "{runs}");
}

/// What the first has written is carried by the second, which compares with it.
#[test]
fn stages_on_the_same_tokens_share_the_stream_between_them() {
    check(&[(true, true), (true, false)], true, &[(Some(1.0), 2.0), (None, 1.0)]);
    check(&[(true, false), (false, false)], true, &[(Some(1.0), 1.0), (None, 1.0)]);
}

/// A stage that is done carries the stream of the one before it to the end of the phase.
#[test]
fn stages_end_when_they_are_done_whatever_others_do() {
    let model = Model::open();
    let first = model.looking(true, true);
    let second = Looking { in_front: true, phases: 3, ..model.looking(true, false) };
    let stages: Vec<&dyn Stage> = vec![&first, &second];
    Sweep { stages, shares: true }.run().expect("it runs");
    let seen = first.seen.lock().expect("no panic");
    for (seen, plain) in seen.iter().zip(model.plain()) {
        assert!(seen.before == plain && seen.rewritten == plain, "other hidden states");
    }
    assert_eq!((seen.len(), second.seen.lock().expect("no panic").len()), (first.phases, 3));
}

#[test]
fn stages_on_other_tokens_have_streams_of_their_own() {
    check(&[(true, false), (true, false)], false, &[(Some(1.0), 1.0), (Some(1.0), 1.0)]);
}

/// No stage knows which others there are: a third one is another line.
#[test]
fn any_list_of_stages_is_one_sweep() {
    let three = [(true, true), (true, false), (true, false)];
    check(&three, true, &[(Some(1.0), 2.0), (None, 2.0), (None, 1.0)]);
}
