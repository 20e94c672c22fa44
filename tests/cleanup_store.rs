//! Cleanups of an archive in a real object store: removed in batches, refused where nothing would go, and the truth told when
//! requests fail.
#![cfg(feature = "object-store")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;
use support::azure::Azure;
use support::bucket::Bucket;
use support::gcs::Gcs;
use support::proxy::{Proxy, Spoil};
use support::recorded::Recording;
use support::s3::S3;

struct Yard {
    server: Arc<dyn Bucket>,
    state: tempfile::TempDir,
}

impl Yard {
    fn new(server: Arc<dyn Bucket>) -> Self {
        Self { server, state: tempfile::tempdir().unwrap() }
    }

    /// One in each service.
    fn each() -> [Self; 3] {
        let servers: [Arc<dyn Bucket>; 3] =
            [Arc::new(S3::start()), Arc::new(Gcs::start()), Arc::new(Azure::start())];
        servers.map(Self::new)
    }

    /// Stores the recorded archive under `prefix`, and gives its names.
    fn fill(&self, prefix: &str) -> Vec<String> {
        self.server.put_folder(&Recording::of("16").archive(), prefix);
        self.server.keys(prefix)
    }

    /// What `walproof` says of the archive under `prefix`, and its exit status.
    fn run(&self, prefix: &str, variables: Vec<(String, String)>, arguments: &[&str]) -> (Value, i32) {
        let output = Command::new(env!("CARGO_BIN_EXE_walproof"))
            .arg(arguments[0])
            .arg(self.server.url(prefix))
            .args(&arguments[1..])
            .args(["--format", "json", "--no-catalog"])
            .env("XDG_STATE_HOME", self.state.path())
            .envs(variables)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let answer =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {said}"));
        (answer, output.status.code().unwrap())
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

const EXECUTE: [&str; 4] = ["cleanup", "--keep-backups", "1", "--execute"];

fn without(all: &[String], gone: &[String]) -> Vec<String> {
    all.iter().filter(|name| !gone.contains(name)).cloned().collect()
}

#[test]
fn an_archive_in_a_bucket_is_cleaned_up_in_batches() {
    for yard in Yard::each() {
        clean_up(&yard);
    }
}

fn clean_up(yard: &Yard) {
    let all = yard.fill("clean");
    let proxy = Proxy::before(yard.server.port());
    let (done, status) = yard.run("clean", yard.server.variables_at(proxy.port()), &EXECUTE);
    assert_eq!((status, &done["executed"]), (0, &true.into()), "{done:#}");
    let removed = strings(&done["removed"]);
    assert!(removed.len() > 3);
    assert_eq!(yard.server.keys("clean"), without(&all, &removed));
    // Google's protocol has no request for many.
    let requests = if yard.server.scheme() == "gs" { removed.len() } else { 1 };
    assert_eq!(proxy.removals(), requests, "{}", yard.server.scheme());
    assert_eq!(yard.run("clean", yard.server.variables(), &["verify"]).0["verdict"], "ok");
    // The trash is a folder of the same bucket, and not of the archive.
    let all = yard.fill("trash");
    let inside = [&EXECUTE[..], &["--trash", "old"]].concat();
    let (refused, status) = yard.run("trash", yard.server.variables(), &inside);
    assert_eq!((status, refused["removed"].as_array().unwrap().len()), (1, 0));
    assert_eq!(yard.server.keys("trash"), all);
    let bin = yard.server.url("bin");
    let beside = [&EXECUTE[..], &["--trash", &bin]].concat();
    let (moved, status) = yard.run("trash", yard.server.variables(), &beside);
    assert_eq!(status, 0, "{moved:#}");
    let mut in_trash = strings(&moved["removed"]);
    assert_eq!(yard.server.keys("trash"), without(&all, &in_trash));
    in_trash.sort();
    assert_eq!(yard.server.keys("bin"), in_trash);
}

#[test]
fn requests_that_fail_end_in_a_right_answer_or_in_the_truth_and_status_3() {
    for yard in Yard::each() {
        fail(&yard);
    }
}

fn fail(yard: &Yard) {
    let proxy = Proxy::before(yard.server.port());
    // Asked again, the service does it; an answer that was lost is no failure either.
    for spoil in [Spoil::Busy, Spoil::HangUp, Spoil::BreakOff] {
        let prefix = format!("once-{spoil:?}");
        let all = yard.fill(&prefix);
        proxy.spoil_removals(spoil, 0, 1);
        let (done, status) = yard.run(&prefix, yard.server.variables_at(proxy.port()), &EXECUTE);
        assert_eq!((status, &done["error"]), (0, &Value::Null), "{spoil:?}: {done:#}");
        assert_eq!(yard.server.keys(&prefix), without(&all, &strings(&done["removed"])), "{spoil:?}");
    }
    // For ever: what is said to be gone is gone, and nothing else.
    for spoil in [Spoil::Busy, Spoil::BreakOff] {
        let prefix = format!("ever-{spoil:?}");
        let all = yard.fill(&prefix);
        proxy.spoil_removals(spoil, 0, usize::MAX);
        let (answer, status) = yard.run(&prefix, yard.server.variables_at(proxy.port()), &EXECUTE);
        let (removed, remaining) = (strings(&answer["removed"]), strings(&answer["remaining"]));
        assert_eq!(yard.server.keys(&prefix), without(&all, &removed), "{spoil:?}: {answer:#}");
        assert_eq!(status == 3, answer["error"].is_string(), "{spoil:?}: {answer:#}");
        assert_eq!(status == 0, remaining.is_empty(), "{spoil:?}: {answer:#}");
        if spoil == Spoil::Busy {
            assert_eq!((status, removed.len()), (3, 0), "{answer:#}");
        }
        proxy.spoil_removals(spoil, 0, 0);
        let (done, status) = yard.run(&prefix, yard.server.variables_at(proxy.port()), &EXECUTE);
        assert_eq!((status, done["executed"] == true), (0, true), "{done:#}");
        assert_eq!(strings(&done["removed"]), remaining);
    }
}

#[test]
fn a_bucket_that_keeps_versions_is_not_cleaned_up() {
    let server = S3::start();
    server.put("first/x", b"makes the bucket");
    server.keep_versions();
    let yard = Yard::new(Arc::new(server));
    let all = yard.fill("kept");
    for arguments in [&EXECUTE[..], &EXECUTE[..3]] {
        let (refused, status) = yard.run("kept", yard.server.variables(), arguments);
        assert_eq!(status, 1, "{refused:#}");
        assert!(refused["refused"].as_str().unwrap().contains("keeps the versions"), "{refused:#}");
        assert_eq!((&refused["executed"], refused["remove"].as_array().unwrap().len()), (&false.into(), 0));
    }
    assert_eq!(yard.server.keys("kept"), all);
}
