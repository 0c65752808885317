//! The plans under `examples/` are what users begin with: all of them are good.

use std::path::{Path, PathBuf};

use gauntlet_tests::Beside;
use gauntlet_tests::gauntlet::command;

fn plans(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let toml = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    toml.chain(dirs.iter().flat_map(|dir| plans(dir))).collect()
}

#[test]
fn every_example_is_a_good_plan() {
    let dir = Beside::new();
    let plans = plans(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"));
    assert!(plans.len() >= 14, "{plans:?}");
    for plan in plans {
        let plan = plan.display().to_string();
        assert!(
            command(dir.path(), &["plan", "check", &plan]).expect(0).stdout.contains(": good;"),
            "{plan}"
        );
    }
}
