//! The keys of a recipe, from the options of the commands.

use crate::flags::Flags;
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, CommandFactory};
use llmopt_pipeline::Date;
use llmopt_recipe::{Key, Kind, Section};
use std::any::TypeId;
use std::path::PathBuf;

/// All keys of a recipe.
pub(crate) fn catalog() -> Section {
    let mut root = Flags::command();
    root.build();
    let command = |name: &str| root.find_subcommand(name).expect("one of the commands").clone();
    let stage = section(
        "a stage",
        "What is made of the model, or of what the stage before it has made",
        vec![
            table("prune", of_command(&command("prune"), OF_THE_RUN)),
            table("smooth", smooth()),
            table("quantize", of_command(&command("quantize"), OF_THE_RUN)),
        ],
    );
    let mut calibrate = of_command(&command("calibrate"), OF_THE_RUN);
    calibrate.keys.retain(|key| !["gram", "merge"].contains(&&*key.name));
    calibrate.name = "`[calibrate]`".to_owned();
    calibrate.help =
        "The data of every stage that names none itself; what a stage says comes first".to_owned();
    section(
        "the recipe",
        "What is made of a model, what is measured of it, and which bounds must hold",
        vec![
            required(scalar("model", "Hugging Face folder, relative to the recipe")),
            scalar("output", "The folder that the artifact goes to, relative to the recipe"),
            scalar("memory", "Hard bound on resident memory, such as 8GiB or 500MB"),
            key("threads", "Worker threads; no byte depends on them", Kind::Whole),
            scalar("scratch", "Folder for hidden states that do not fit in memory"),
            table("calibrate", calibrate),
            required(key("stage", "The stages, in order", Kind::Alternatives(stage))),
            table("eval", eval(&command("eval"))),
            table("report", report()),
        ],
    )
}

fn smooth() -> Section {
    let help = "From 0 to 1, by the maxima of inputs and weights; the scales that leave the least noise, if there \
        is none";
    section(
        "`smooth`",
        "Move the range of inputs into weights (SmoothQuant), for the stage behind it, which quantizes",
        vec![scalar("strength", help)],
    )
}

fn eval(command: &Command) -> Section {
    let mut eval = of_command(command, OF_THE_RUN);
    eval.name = "`[eval]`".to_owned();
    for key in &mut eval.keys {
        match &*key.name {
            "gate" => key.name = "gates".to_owned(),
            "text" | "tasks" => key.kind = Kind::Named,
            _ => {}
        }
    }
    let values = vec!["keep".to_owned(), "discard".to_owned()];
    let help = "What becomes of an artifact that misses a gate [default: keep]";
    eval.keys.push(key("on-miss", help, Kind::Scalar(values)));
    eval
}

fn report() -> Section {
    let files = Kind::List(Box::new(Kind::Scalar(Vec::new())));
    section(
        "`[report]`",
        "What is told of the result",
        vec![
            key("files", "Reports of the evaluation, by their endings", files),
            key("card", "Whether the artifact gets a model card [default: true]", Kind::Flag),
            scalar(
                "base-model",
                "The model's name on the hub, for the card [default: its folder's]",
            ),
        ],
    )
}

/// The options of a command, but for those in `without`.
fn of_command(command: &Command, without: &[&str]) -> Section {
    let arguments = command.get_arguments().filter(|arg| !arg.is_positional());
    let keys = arguments.filter_map(|arg| {
        let name = arg.get_long().filter(|name| !without.contains(name))?;
        let key = key(name, &one_line(arg.get_help()), kind(arg));
        Some(Key { required: arg.is_required_set(), ..key })
    });
    let (name, help) = (format!("`{}`", command.get_name()), one_line(command.get_about()));
    Section { name, help, keys: keys.collect() }
}

fn kind(arg: &Arg) -> Kind {
    if !arg.get_action().takes_values() {
        return Kind::Flag;
    }
    let parsed = arg.get_value_parser().type_id();
    let is_number = parsed == TypeId::of::<usize>() || parsed == TypeId::of::<u64>();
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    let values = arg.get_possible_values().into_iter();
    let one = match () {
        () if optional => Kind::Switch,
        () if is_number => Kind::Whole,
        () if parsed == TypeId::of::<Date>() => Kind::Day,
        () => Kind::Scalar(values.map(|value| value.get_name().to_owned()).collect()),
    };
    match arg.get_action() {
        ArgAction::Append => Kind::List(Box::new(one)),
        _ => one,
    }
}

/// Whether the values of an option of these commands are paths.
pub(super) fn is_path(command: &str, key: &str) -> bool {
    let root = Flags::command();
    let command = root.find_subcommand(command);
    let mut arguments = command.into_iter().flat_map(Command::get_arguments);
    arguments
        .find(|arg| arg.get_long() == Some(key))
        .is_some_and(|arg| arg.get_value_parser().type_id() == TypeId::of::<PathBuf>())
}

/// Help without its markup.
fn one_line(help: Option<&StyledStr>) -> String {
    let text = help.map(ToString::to_string).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn section(name: &str, help: &str, keys: Vec<Key>) -> Section {
    Section { name: name.to_owned(), help: help.to_owned(), keys }
}

fn key(name: &str, help: &str, kind: Kind) -> Key {
    Key { name: name.to_owned(), help: help.to_owned(), kind, required: false }
}

fn scalar(name: &str, help: &str) -> Key {
    key(name, help, Kind::Scalar(Vec::new()))
}

fn table(name: &str, of: Section) -> Key {
    Key { help: of.help.clone(), ..key(name, "", Kind::Section(of)) }
}

fn required(key: Key) -> Key {
    Key { required: true, ..key }
}

/// Options that are those of a whole run, and stand at the top of a recipe or on the command line.
const OF_THE_RUN: &[&str] = &[
    "output", "force", "dry-run", "memory", "threads", "scratch", "report", "verbose", "quiet",
    "json", "color", "help", "version", "against", "logits",
];
