//! Accuracy: the same model finds the same boxes as with the reference implementation. `tests/parity.py` compares.

use std::path::Path;
use std::process::Command;

use crate::program::skipped;

/// Skips, and says so, where the test data (`STREAMDET_TEST_DATA`) is not.
#[test]
fn detections_match_the_reference() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity.py");
    let output = Command::new("python3")
        .arg(script)
        .args(["--program", env!("CARGO_BIN_EXE_streamdet")])
        .output()
        .expect("python3 is installed");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{table}");
    assert!(output.status.success(), "{}:\n{table}{errors}", output.status);
    if let Some(why) = table.strip_prefix("skipped: ") {
        skipped(why.trim_end());
    }
}
