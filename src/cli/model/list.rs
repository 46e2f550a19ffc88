//! `streamdet model list`.

use clap::Args;

use crate::cli::messages::{print, print_error};
use crate::model::store;
use crate::ui::models::{row, table};

const EXAMPLES: &str = "Examples:
  streamdet model list
  streamdet model list --json | jq -r '.[] | select(.place == \"here\") | .path'

Cards (NAME.toml) are looked for in ./models, in the user's data folder and in the program itself; a model's file beside \
its card or in one of these folders.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArgs {
    /// Everything the cards say, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ListArgs) -> u8 {
    let (models, problems) = store::list();
    if args.json {
        let rows: Vec<_> = models.iter().map(row).collect();
        print(&format!("{:#}\n", serde_json::Value::Array(rows)));
    } else {
        print(&table(&models));
    }
    for problem in &problems {
        print_error(problem);
    }
    if problems.is_empty() { 0 } else { 2 }
}
