//! Kafka, by a broker of its own (Tansu) whose network is cut, and by librdkafka's mock cluster where errors have to be planted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::cluster::{Cluster, Stored, stored};
use crate::program::running::Running;
use crate::program::{json, text};
use crate::refusals::{DECODED, SECRET, certificate, holds_no_secret};
use crate::{Away, complete, detect, formats, killed, missing, recorded};

/// Every key has one partition.
#[track_caller]
fn keyed(messages: &[Stored]) -> BTreeSet<&str> {
    let mut partitions: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for Stored { key, partition, .. } in messages {
        partitions.entry(key).or_default().insert(*partition);
    }
    assert!(partitions.values().all(|of| of.len() == 1), "{partitions:?}");
    partitions.into_keys().collect()
}

#[test]
fn kafka_loses_nothing_when_the_network_is_cut_and_the_program_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut cluster) = Cluster::start(folder.path(), &[], None) else { return };
    let url = format!("kafka://{}/site", cluster.address());
    let (sure, second) = killed(folder.path(), &url, &mut cluster);
    let lasts = |found: &[Stored]| {
        let run = found.last().map(|last| last.run.clone()).unwrap_or_default();
        found.iter().filter(|found| found.run == run).count()
    };
    let found = stored(&cluster.address(), "site.detections", &[], |found| {
        crate::program::broker::numbered(found.iter().map(Stored::json).collect::<Vec<_>>().iter()).len() == 4
            && lasts(found) >= second
    });
    assert_eq!(keyed(&found), ["test-ball", "test-smpte"].into());
    let messages: Vec<Value> = found.iter().map(Stored::json).collect();
    for (found, message) in found.iter().zip(&messages) {
        assert_eq!(
            (&message["stream_name"], &message["run"]),
            (&found.key.as_str().into(), &found.run.as_str().into())
        );
        assert_eq!(found.seq.parse().ok(), message["seq"].as_u64());
    }
    // An outage alone brings nothing twice: only what was on its way when the program was killed may come again, once.
    let doubles =
        messages.len() - crate::program::broker::numbered(messages.iter()).values().map(Vec::len).sum::<usize>();
    assert!(doubles <= 2 * 64, "{doubles} of {} came twice", messages.len());
    complete(messages.iter(), sure, second);
    let states = stored(&cluster.address(), "site.state", &[], |found| found.len() >= 6);
    for name in keyed(&states) {
        let of: Vec<&str> = states.iter().filter(|s| s.key == name).map(|s| s.payload.as_str()).collect();
        assert_eq!(of, ["online", "online", "offline"], "{name}: it was killed once");
    }
}

#[test]
fn what_kafka_does_not_take_in_time_is_counted_and_exactly_that_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut cluster) = Cluster::start(folder.path(), &[], None) else { return };
    cluster.kill();
    let url = format!("kafka://{}/site", cluster.address());
    let (processed, lost) = crate::overflows(folder.path(), &url, || cluster.start());
    // Its own frame is the second run's only message.
    let frames = stored(&cluster.address(), "site.detections", &[], |found| {
        found.last().is_some_and(|last| last.seq == "0" && last.run != found[0].run)
    });
    let told = |found: &[Stored]| found.iter().map(|found| found.json()["messages"].as_u64().unwrap_or(0)).sum::<u64>();
    let events = stored(&cluster.address(), "site.events", &[], |found| told(found) >= lost);
    let messages: Vec<Value> = frames.iter().chain(&events).map(Stored::json).collect();
    missing(&messages, processed, lost);
}

/// What the server shows for `localhost`.
fn server(keys: &Path) -> ServerConfig {
    let certificates = CertificateDer::pem_file_iter(keys.join("cert.pem")).expect("a file");
    let certificates = certificates.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(keys.join("key.pem")).expect("a key");
    let provider = rustls::crypto::ring::default_provider().into();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    config.expect("versions").with_no_client_auth().with_single_cert(certificates, key).expect("a certificate")
}

#[test]
fn a_cluster_with_tls_is_published_to_and_the_password_is_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = tempfile::tempdir().expect("a folder");
    let (folder, keys) = (folder.path(), keys.path());
    certificate(keys);
    let ca = text(&keys.join("cert.pem")).to_owned();
    let run = |url: &str, more: &[&str]| {
        let args = ["test:ball", "--frames", "20", "--publish-on", "frame", "--publish-ca", &ca, "--report", "r.json"];
        let mut command = detect(folder, &args);
        // As a service gets it: not on the command line.
        command.env("STREAMDET_PUBLISH", url).args(["--run-dir", "kept", "--overwrite"]).args(more);
        let said = Running::start(command).succeeds();
        assert!(!said.contains(SECRET) && !said.contains(DECODED), "{said}");
        said
    };
    let Some(open) = Cluster::start(&keys.join("open"), &[], Some(server(keys))) else { return };
    let (address, port) = (open.address(), open.address().replace("localhost:", ""));
    let said = run(&format!("kafkas://{address}/site"), &["-vvv"]);
    let tls = [("security.protocol", "ssl"), ("ssl.ca.location", ca.as_str())];
    let stream = json(&folder.join("r.json"))["streams"][0].clone();
    // A busy machine drops frames.
    let processed = stream["frames"]["processed"].as_u64().expect("a number");
    assert_eq!(stream["publish"][0]["published"], processed, "{said}");
    let found = stored(&address, "site.detections", &tls, |found| found.len() as u64 >= processed);
    assert_eq!(
        found.iter().map(|found| found.seq.parse().ok()).collect::<Vec<_>>(),
        (0..processed).map(Some).collect::<Vec<_>>()
    );
    assert!(!said.contains("%3|") && !said.contains("%6|"), "librdkafka's own lines: {said}");
    // The name in the certificate is another.
    let other = run(&format!("kafkas://me:{SECRET}@127.0.0.1:{port}/other?sasl=scram-sha-256"), &[]);
    assert!(other.contains("certificate verify failed") && other.contains("kept on disk"), "{other}");
    // A cluster that knows nobody of this name.
    let closed = Cluster::start(&keys.join("closed"), &["--authentication"], Some(server(keys))).expect("as above");
    let address = closed.address();
    let wrong = run(&format!("kafkas://me:{SECRET}@{address}/wrong?sasl=scram-sha-256"), &["-vvv"]);
    assert!(wrong.contains("SCRAM authentication failed") && wrong.contains("kept on disk"), "{wrong}");
    let stream = &json(&folder.join("r.json"))["streams"][0];
    assert_eq!(stream["publish"][0]["waiting"], stream["frames"]["processed"]);
    let plain = run(&format!("kafkas://me:{SECRET}@{address}/plain"), &[]);
    assert!(plain.contains("SASL PLAIN mechanism handshake failed"), "{plain}");
    holds_no_secret(folder);
}

fn numbers(messages: &[Stored]) -> Vec<u64> {
    messages.iter().map(|message| message.seq.parse().expect("a number")).collect()
}

#[test]
fn a_message_that_is_too_large_for_the_topic_is_lost_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let cluster = MockCluster::new(1).expect("a cluster");
    let (fine, large) =
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    for topic in ["streamdet.state", "streamdet.detections"] {
        cluster.create_topic(topic, 1, 1).expect("a topic");
    }
    // Long after the state.
    cluster.request_errors(RDKafkaApiKey::Produce, &[&[fine; 40][..], &[large]].concat());
    // 25 kB a frame: each is a batch of its own.
    formats::found(folder, 200);
    let address = cluster.bootstrap_servers();
    let url = format!("kafka://{address}");
    let args = ["street.mp4", "--detections", "found.jsonl", "--publish", &url, "--publish-on", "frame"];
    let said = Running::start(recorded(folder, &[&args[..], &["--report", "r.json"]].concat())).succeeds();
    let report = &json(&folder.join("r.json"))["streams"][0]["publish"][0];
    assert_eq!((&report["lost"], &report["waiting"]), (&1.into(), &0.into()), "{report}\n{said}");
    assert!(said.contains("not published: it is larger than the topic's max.message.bytes"), "{said}");
    let is_last = |found: &[Stored]| found.last().is_some_and(|last| last.seq == "119");
    let mut seen = numbers(&stored(&address, "streamdet.detections", &[], is_last));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 119, "{seen:?}");
}

#[test]
fn what_the_cluster_refuses_for_a_while_comes_in_its_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (fine, refused) =
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.topic_error("streamdet.detections", refused).expect("a topic");
    let address = cluster.bootstrap_servers();
    let url = format!("kafka://{address}");
    let args = ["test:ball", "--publish-on", "frame", "--publish", &url, "--frames", "150", "--report", "r.json"];
    let mut run = Running::start(detect(folder, &args));
    run.wait_for("messages are kept on disk until it is connected", 1);
    cluster.topic_error("streamdet.detections", fine).expect("a topic");
    let said = run.succeeds();
    let stream = &json(&folder.join("r.json"))["streams"][0];
    let (report, processed) = (&stream["publish"][0], stream["frames"]["processed"].as_u64().expect("a number"));
    assert_eq!((&report["lost"], &report["waiting"]), (&0.into(), &0.into()), "{report}\n{said}");
    // A busy machine drops frames, which have no number.
    let is_last = |found: &[Stored]| found.last().is_some_and(|last| last.seq == (processed - 1).to_string());
    assert_eq!(numbers(&stored(&address, "streamdet.detections", &[], is_last)), (0..processed).collect::<Vec<_>>());
}
