//! Image files: one writer, complete or absent, removed but never changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use base::image::files::{Claim, Folder, Mapped, Name, Opened};
use base::image::{AlignedBytes, Image, Writer};

const PREFIX: &str = "pgsql_tmp_persona.";

/// A folder of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("image_files.{test}.{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }

    fn folder(&self) -> Folder {
        Folder::new(&self.0, PREFIX)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn image(number: u8, floats: usize) -> AlignedBytes {
    let values = vec![f32::from(number); floats];
    let mut writer = Writer::new([number; 16]);
    writer.section(9, &values);
    writer.finish().unwrap()
}

fn name(bytes: &[u8]) -> (Name, u64) {
    Name::of(5, bytes).unwrap()
}

fn write(folder: &Folder, bytes: &[u8]) -> Mapped {
    let (name, length) = name(bytes);
    let Claim::Mine(mut pending) = folder.claim(&name, length).unwrap() else { panic!("not mine") };
    pending.allocate(&mut || ()).unwrap();
    bytes.chunks(1000).for_each(|piece| pending.write(piece).unwrap());
    assert_eq!(*pending.map().unwrap().expect("the whole image"), *bytes);
    pending.publish().unwrap();
    ready(folder, bytes)
}

fn ready(folder: &Folder, bytes: &[u8]) -> Mapped {
    let (name, length) = name(bytes);
    match folder.claim(&name, length).unwrap() {
        Claim::Ready(mapped) => mapped,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_what_others_map() {
    let scratch = Scratch::new("round_trip");
    let (folder, bytes) = (scratch.folder(), image(1, 5000));
    let mine = write(&folder, &bytes);
    let theirs = ready(&folder, &bytes);
    assert_eq!((&*mine, &*theirs), (&*bytes, &*bytes));
    assert!(Image::open(&theirs).is_ok());
    let crc = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    assert_eq!(scratch.names(), [format!("{PREFIX}5.{}.{crc:08x}", "01".repeat(16))]);
    assert_eq!(folder.entries()[0].name, name(&bytes).0);
}

#[test]
fn one_writes_and_the_others_wait() {
    let scratch = Scratch::new("herd");
    let (folder, bytes, written) = (scratch.folder(), image(1, 200_000), AtomicUsize::new(0));
    let (name, length) = name(&bytes);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                loop {
                    match folder.claim(&name, length).unwrap() {
                        Claim::Ready(mapped) => return assert_eq!(&*mapped, &*bytes),
                        Claim::Busy => std::thread::sleep(Duration::from_millis(1)),
                        Claim::Mine(mut pending) => {
                            written.fetch_add(1, Relaxed);
                            bytes.chunks(10_000).for_each(|piece| pending.write(piece).unwrap());
                            // Nobody sees it before it has its name.
                            assert!(matches!(folder.open(&name, length), Ok(Opened::Missing)));
                            pending.publish().unwrap();
                        }
                    }
                }
            });
        }
    });
    assert_eq!((written.load(Relaxed), scratch.names().len()), (1, 1));
}

#[test]
fn an_unfinished_file_goes_with_its_writer() {
    let scratch = Scratch::new("unfinished");
    let (folder, bytes) = (scratch.folder(), image(1, 5000));
    let (name, length) = name(&bytes);
    let Claim::Mine(mut pending) = folder.claim(&name, length).unwrap() else { panic!() };
    pending.write(&bytes[..640]).unwrap();
    assert!(pending.map().unwrap().is_none(), "a part is not the image");
    assert!(matches!(folder.claim(&name, length), Ok(Claim::Busy)));
    drop(pending);
    assert_eq!(scratch.names(), [""; 0]);
}

/// What a killed process leaves: a temporary file that nobody locks.
#[test]
fn a_killed_writer_is_taken_over() {
    let scratch = Scratch::new("killed");
    let (folder, bytes) = (scratch.folder(), image(1, 5000));
    let (name, _) = name(&bytes);
    fs::create_dir(&scratch.0).unwrap();
    fs::write(scratch.0.join(format!("{PREFIX}{name}.new")), [7; 900]).unwrap();
    assert_eq!(*write(&folder, &bytes), *bytes);
    assert_eq!(scratch.names().len(), 1);
    // Of an image that nobody wants any more it goes when room is made.
    fs::write(scratch.0.join(format!("{PREFIX}{name}.new")), [7; 900]).unwrap();
    assert!(folder.make_room(0, u64::MAX, &mut |_| true).unwrap());
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_the_image_is_written_again() {
    let scratch = Scratch::new("damaged");
    let (folder, bytes) = (scratch.folder(), image(1, 5000));
    drop(write(&folder, &bytes));
    let path = scratch.0.join(&scratch.names()[0]);
    let other = image(2, 5000);
    // Cut off, grown, another image, a header that was overwritten, empty.
    for damaged in
        [&bytes[..bytes.len() - 64], &[&*bytes, &[0; 64][..]].concat(), &other, &[0; 20_096][..], &[]]
    {
        fs::write(&path, damaged).unwrap();
        assert_eq!(*write(&folder, &bytes), *bytes);
        assert_eq!(*ready(&folder, &bytes), *bytes);
    }
}

#[test]
fn what_is_mapped_keeps_its_name_unless_it_is_damaged() {
    let scratch = Scratch::new("removed");
    let (folder, bytes) = (scratch.folder(), image(1, 500_000));
    let (first, second) = (write(&folder, &bytes), ready(&folder, &bytes));
    let remove = || folder.remove(&|name| name.database == 5 && name.uuid == [1; 16]);
    drop(first);
    remove();
    assert_eq!(scratch.names().len(), 1, "the second one has it");
    let size = bytes.len() as u64;
    assert!(!folder.make_room(1, size, &mut |_| false).unwrap(), "it counts");
    assert!(folder.make_room(1, size + 1, &mut |_| true).unwrap(), "dead or not");
    // The parts of a mapping keep it too.
    let (address, length) = second.into_parts();
    remove();
    assert_eq!(scratch.names().len(), 1);
    // SAFETY: from above, and only here.
    drop(unsafe { Mapped::from_parts(address, length) });
    folder.remove(&|name| name.database == 6);
    assert_eq!(scratch.names().len(), 1);
    remove();
    assert_eq!(scratch.names(), [""; 0]);
    let mapped = write(&folder, &bytes);
    folder.discard(&name(&bytes).0).unwrap();
    assert_eq!((&*mapped, scratch.names()), (&*bytes, Vec::new()), "who has it keeps it");
    assert_eq!(*write(&folder, &bytes), *bytes);
}

#[test]
fn room_is_made_by_what_nobody_maps() {
    let scratch = Scratch::new("held");
    let folder = scratch.folder();
    let images: Vec<_> = (1..=3).map(|number| image(number, 1000)).collect();
    let size = images[0].len() as u64;
    // The one that was opened longest ago is mapped: the next one goes.
    let held = write(&folder, &images[0]);
    drop(write(&folder, &images[1]));
    drop(write(&folder, &images[2]));
    assert!(!folder.make_room(2 * size + 1, 3 * size, &mut |_| false).unwrap());
    assert_eq!(scratch.names().len(), 3, "nothing goes in vain");
    assert!(folder.make_room(size, 3 * size, &mut |_| false).unwrap());
    assert_eq!(scratch.names().len(), 2);
    assert_eq!(*ready(&folder, &images[0]), *held);
    assert!(folder.make_room(2 * size, 3 * size, &mut |_| false).unwrap());
    assert_eq!(scratch.names().len(), 1);
    let disk = folder.disk().unwrap();
    assert!(disk.free > 0 && disk.free <= disk.size);
}

#[test]
fn room_is_made_by_what_is_dead_and_then_by_what_was_opened_longest_ago() {
    let scratch = Scratch::new("room");
    let folder = scratch.folder();
    let images: Vec<_> = (1..=4).map(|number| image(number, 1000)).collect();
    let size = images[0].len() as u64;
    for (age, bytes) in images.iter().enumerate() {
        drop(write(&folder, bytes));
        let path = scratch.0.join(format!("{PREFIX}{}", name(bytes).0));
        let then = SystemTime::now() - Duration::from_secs(1000 - age as u64);
        fs::File::open(path).unwrap().set_modified(then).unwrap();
    }
    // A foreign file, and names that only look like ours, stay.
    for foreign in ["pgsql_tmp123.0", "pgsql_tmp_persona.progress.7", "pgsql_tmp_persona.05.1.2"] {
        fs::write(scratch.0.join(foreign), [0; 100]).unwrap();
    }
    // Opening makes the oldest the newest.
    drop(ready(&folder, &images[0]));
    let has = |number: u8| folder.entries().iter().any(|entry| entry.name.uuid == [number; 16]);
    let dead = &mut |name: &Name| name.uuid == [3; 16];
    assert!(folder.make_room(size, 3 * size, dead).unwrap());
    assert_eq!([1, 2, 3, 4].map(has), [true, false, false, true]);
    assert!(folder.make_room(0, size, &mut |_| false).unwrap());
    assert_eq!([1, 4].map(has), [true, false]);
    assert!(!folder.make_room(size + 1, size, &mut |_| false).unwrap(), "never beyond the limit");
    assert_eq!([1, 4].map(has), [true, false], "and nothing goes in vain");
    // What is being written is nobody's to remove, and counts.
    let (name, length) = name(&images[1]);
    let Claim::Mine(pending) = folder.claim(&name, length).unwrap() else { panic!() };
    pending.allocate(&mut || ()).unwrap();
    assert!(!folder.make_room(size, 3 * size / 2, &mut |_| true).unwrap());
    drop(pending);
    assert_eq!(scratch.names().len(), 3);
}

#[test]
fn no_folder_and_no_header() {
    let scratch = Scratch::new("absent");
    let (folder, bytes) = (scratch.folder(), image(1, 10));
    assert!(folder.entries().is_empty());
    assert!(matches!(folder.open(&name(&bytes).0, 1), Ok(Opened::Missing)));
    assert!(folder.disk().is_err());
    assert!(folder.make_room(1, 1, &mut |_| true).unwrap());
    for text in [&b""[..], &[0; 63], &[0; 64], &[255; 64]] {
        assert_eq!(Name::of(1, text), None);
    }
}
