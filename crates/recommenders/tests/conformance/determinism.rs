//! The same bytes for the same seed, whatever the machine does.

use std::process::Command;

use base::Control;
use base::image::AlignedBytes;
use base::simd::{Level, level, settle};

use crate::data::groups;
use crate::path::{Model, Names, Row, trained};
use crate::permutation::assert_agree;
use crate::recipes::{HOW, How};
use crate::table::{Agreement, algorithms};

#[test]
fn a_seed_gives_the_same_bytes_on_every_number_of_threads() {
    for algorithm in algorithms() {
        // So many that several threads have something to do.
        let groups = groups(algorithm.recipe.rates());
        let users = groups.user_count();
        let again = |n: u64| groups.rows.iter().map(move |row| Row { user: row.user + n * users, ..*row });
        let rows: Vec<Row> = (0..8).flat_map(again).collect();
        let model = |how: How| trained(&*algorithm.recipe, &rows, Names::Texts, how);
        let first = model(HOW);
        for threads in [1, 2, 3] {
            let again = model(How { threads, ..HOW });
            assert!(first.bytes[..] == again.bytes[..], "{} on {threads} threads", algorithm.name);
        }
        let other = model(How { seed: HOW.seed + 1, ..HOW });
        assert_eq!(first.bytes[..] != other.bytes[..], algorithm.recipe.draws(), "{}", algorithm.name);
    }
}

/// Where the other process leaves its images: the argument of this environment variable.
const FOLDER: &str = "CONFORMANCE_FOLDER";

/// The other process: without the instructions that this one has.
#[test]
#[ignore = "run by the test of instruction sets, in a process of its own"]
fn with_the_instructions_that_every_processor_has() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    assert!(settle(Level::Portable) && level() == Level::Portable);
    for (number, algorithm) in algorithms().iter().enumerate() {
        let groups = groups(algorithm.recipe.rates());
        let model = trained(&*algorithm.recipe, &groups.rows, Names::Integers, HOW);
        std::fs::write(format!("{folder}/{number}"), &model.bytes[..]).unwrap();
    }
}

#[test]
fn instruction_sets_change_no_ranking() {
    let folder = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "determinism::with_the_instructions_that_every_processor_has", "--ignored"])
        .env(FOLDER, &folder)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    for (number, algorithm) in algorithms().iter().enumerate() {
        let groups = groups(algorithm.recipe.rates());
        let here = trained(&*algorithm.recipe, &groups.rows, Names::Integers, HOW);
        let bytes = std::fs::read(folder.join(number.to_string())).unwrap();
        let there = Model { bytes: AlignedBytes::copy_of(&bytes).unwrap(), names: Names::Integers };
        there.view().check(&Control::unlimited()).unwrap();
        // Sums of other roundings, which a choice among samples may turn on.
        let agreement =
            if algorithm.without_slow.is_some() { algorithm.agreement } else { Agreement::Scores(1e-4) };
        assert_agree(algorithm, agreement, &groups, [&here, &there], "portable");
    }
    std::fs::remove_dir_all(folder).unwrap();
    assert!(!settle(Level::Portable), "chosen once");
}
