//! Which options are settings, and how they bear on each other.

use clap::builder::{BoolishValueParser, ValueParser};
use clap::{Arg, ArgAction, Command, value_parser};

use crate::secrets::Secret;

/// Options of one invocation; every other option with a long name is a setting, unless it is hidden.
pub(super) const NOT_SETTINGS: [&str; 6] = ["config", "show-config", "verbose", "quiet", "run-dir", "repeat"];
/// Options of `val` that mean something else there than the setting of that name: a threshold to watch with is none to measure with, and a
/// folder of charts is no video. `[val]` has them.
const OF_VAL: [&str; 8] = ["conf", "iou", "max-det", "output", "report", "mot", "mot-format", "mot-frames"];
/// Options that are the process's: all streams share one model and one terminal.
const OF_THE_PROCESS: [&str; 4] = ["tui", "decoder", "stats", "stats-format"];
/// Groups of such options, but for those of [`OF_A_STREAM`].
const GROUPS_OF_THE_PROCESS: [&str; 3] = ["ModelOptions", "MonitoringOptions", "Invocation"];
/// Options of these groups that each stream has for itself.
const OF_A_STREAM: [&str; 1] = ["imgsz"];
/// What says how objects are tracked, and so that they are, unless `track` says that they are not.
pub(super) const TURN_TRACK_ON: [&str; 2] = ["tracker", "trails"];
/// What needs tracked objects, whatever `track` says.
pub(super) const NEED_TRACKS: [&str; 6] = ["best-crops", "heatmap", "mot-output", "count-line", "zone", "zones"];

/// Settings that mean nothing without another one, whatever layers give the two.
const NEED: [(&str, &str); 11] = [
    ("capacity", "fleet"),
    ("instance", "fleet"),
    ("fleet-lease", "fleet"),
    ("keep", "segment"),
    ("keep-bytes", "segment"),
    ("best-crops", "crops"),
    ("target-latency", "tile"),
    ("mot-format", "mot"),
    ("mot-frames", "mot"),
    ("tls-cert", "tls-key"),
    ("tls-key", "tls-cert"),
];

/// What a setting of a command means nothing without.
pub(super) fn needs<'a>(of: &Command, name: &str) -> impl Iterator<Item = &'a str> {
    let needs = NEED.iter().filter(move |(needy, _)| *needy == name).map(|(_, needed)| *needed);
    needs.filter(move |needed| own_settings(of).any(|option| key(option) == *needed))
}

/// The option's name.
pub(super) fn key(option: &Arg) -> &str {
    option.get_long().unwrap_or_default()
}

/// Whether a command has settings.
pub(super) fn has_settings(of: &Command) -> bool {
    of.get_arguments().any(|option| key(option) == "show-config")
}

/// The command line as parsed: a switch that is a setting also takes `=false`, so that a flag can overrule a file's `true`; a list
/// with commas is one value, of which the last counts. What adds up says that it is repeatable.
pub(super) fn command(bare: Command) -> Command {
    let as_setting = |option: Arg| {
        if option.get_value_delimiter().is_some() && matches!(option.get_action(), ArgAction::Append) {
            return option.action(ArgAction::Set).num_args(1);
        }
        if NOT_SETTINGS.contains(&key(&option)) || !matches!(option.get_action(), ArgAction::SetTrue) {
            return option;
        }
        option
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .value_name("true|false")
            .value_parser(BoolishValueParser::new())
            .hide_possible_values(true)
    };
    bare.mut_subcommands(|of| if has_settings(&of) { of.mut_args(as_setting) } else { of })
}

/// Every option of a command that can be set, in the order of `--help`.
pub(super) fn own_settings(of: &Command) -> impl Iterator<Item = &Arg> {
    of.get_arguments()
        .filter(|option| !option.is_hide_set() && option.get_long().is_some_and(|name| !NOT_SETTINGS.contains(&name)))
}

/// Those that a command shares with others: in the environment, and in the config file outside of tables.
pub(super) fn settings(of: &Command) -> impl Iterator<Item = &Arg> {
    let other = |option: &Arg| of.get_name() == "val" && OF_VAL.contains(&key(option));
    own_settings(of).filter(move |option| !other(option))
}

/// Those that a stream has for itself.
pub(super) fn of_a_stream(of: &Command) -> impl Iterator<Item = &Arg> {
    settings(of).filter(|option| !is_of_the_process(of, option))
}

/// Whether an option is the process's.
pub(super) fn is_of_the_process(of: &Command, option: &Arg) -> bool {
    let mut groups = of.get_groups().filter(|group| GROUPS_OF_THE_PROCESS.contains(&group.get_id().as_str()));
    let is_in_one = groups.any(|group| group.get_args().any(|id| id == option.get_id()));
    OF_THE_PROCESS.contains(&key(option)) || (is_in_one && !OF_A_STREAM.contains(&key(option)))
}

/// A command's setting of that name.
pub(super) fn setting<'a>(of: &'a Command, name: &str) -> Option<&'a Arg> {
    settings(of).find(|option| key(option) == name)
}

/// Whether two settings cannot both be given.
pub(super) fn exclusive(of: &Command, a: &str, b: &str) -> bool {
    let option = |name| own_settings(of).find(|option| key(option) == name);
    let Some((a, b)) = option(a).zip(option(b)) else { return false };
    of.get_arg_conflicts_with(a).contains(&b) || of.get_arg_conflicts_with(b).contains(&a)
}

/// Whether an option's values are lists.
pub(super) fn is_list(option: &Arg) -> bool {
    option.get_value_delimiter().is_some() || matches!(option.get_action(), ArgAction::Append)
}

/// What a setting's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A number.
    Number,
    /// Text.
    Text,
    /// Text that is not shown.
    Secret,
    /// What its parser takes.
    Other,
}

/// What an option's values are.
pub(super) fn kind(option: &Arg) -> Kind {
    let kind = option.get_value_parser().type_id();
    let is = |parsers: &[ValueParser]| parsers.iter().any(|parser| parser.type_id() == kind);
    let secret: ValueParser = value_parser!(Secret).into();
    let numbers: [ValueParser; 6] = [
        value_parser!(u16).into(),
        value_parser!(u32).into(),
        value_parser!(u64).into(),
        value_parser!(usize).into(),
        value_parser!(i32).into(),
        value_parser!(f32).into(),
    ];
    if is(&[ValueParser::bool()]) {
        Kind::Switch
    } else if is(&numbers) {
        Kind::Number
    } else if is(&[ValueParser::string(), ValueParser::path_buf()]) {
        Kind::Text
    } else if is(&[secret]) {
        Kind::Secret
    } else {
        Kind::Other
    }
}

/// Whether the text of a switch turns it off.
pub(super) fn is_off(text: &std::ffi::OsStr) -> bool {
    ["false", "no", "n", "off", "f", "0"].iter().any(|off| text.eq_ignore_ascii_case(off))
}
