//! Metrics of the process, in Prometheus' text form. One recorder serves every
//! server in the process, since the `metrics` facade knows only one.

use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::otlp_metrics::Both;

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A metric of ours.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name for the `metrics` macros.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// What it tells.
    pub description: &'static str,
}

const fn metric(name: &'static str, kind: Kind, unit: Unit, description: &'static str) -> Metric {
    Metric { name, kind, unit, description }
}

/// Every metric of ours. Labels never hold anything that a caller or a source
/// chose, so that there are few and none is secret.
pub const ALL: &[Metric] = &[
    metric("rpc.server.calls", Kind::Counter, Unit::Count, "Calls answered, by method and status code"),
    metric("rpc.server.call.duration", Kind::Histogram, Unit::Seconds, "Time of a call, by method and status code"),
    metric(
        "tributary_calls_limited_total",
        Kind::Counter,
        Unit::Count,
        "Calls refused since there were too many (key, peer, calls, streams)",
    ),
    metric(
        "tributary_connections_ended_total",
        Kind::Counter,
        Unit::Count,
        "Connections that were not taken (all, peer) or ended (silent, idle, not_reading)",
    ),
    metric("tributary_tls_reloads_total", Kind::Counter, Unit::Count, "Changed TLS files, loaded or refused"),
    metric(
        "tributary_tls_handshakes_refused_total",
        Kind::Counter,
        Unit::Count,
        "TLS handshakes that failed or took too long",
    ),
    metric("tributary_syncs_started_total", Kind::Counter, Unit::Count, "Syncs asked for"),
    metric("tributary_followers", Kind::Gauge, Unit::Count, "Connections that this process follows"),
    metric(
        "tributary_follow_retained_wal_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "Most that a source keeps of its log for a connection that this process follows",
    ),
    metric(
        "tributary_follow_delay_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "From a commit, by the source's clock, until it is searchable",
    ),
    metric("tributary_follow_changes_total", Kind::Counter, Unit::Count, "Changes of records taken in by following"),
    metric(
        "tributary_credentials_under_old_keys",
        Kind::Gauge,
        Unit::Count,
        "Stored credentials that are not sealed with this server's primary encryption key",
    ),
    metric("tributary_disk_free_bytes", Kind::Gauge, Unit::Bytes, "Room on the disk of the data directory"),
    metric("tributary_sync_duration_seconds", Kind::Histogram, Unit::Seconds, "Time that a worker held a sync"),
];

/// From a fast call to a long sync.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Begins to keep metrics; the second time does nothing.
pub fn install() {
    handle();
}

/// All metrics as text.
pub fn render_metrics() -> String {
    let handle = handle();
    // Drains what histograms have gathered, which only an exporter of the crate's
    // own would do otherwise.
    handle.run_upkeep();
    handle.render()
}

fn handle() -> &'static PrometheusHandle {
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().set_buckets(BUCKETS).expect("there are buckets").build_recorder();
        let handle = recorder.handle();
        // Another recorder can only be one of a program that we are built into;
        // then that one gets the metrics.
        if metrics::set_global_recorder(Both::new(recorder)).is_ok() {
            describe();
        }
        handle
    })
}

fn describe() {
    for Metric { name, kind, unit, description } in ALL.iter().copied() {
        match kind {
            Kind::Counter => describe_counter!(name, unit, description),
            Kind::Gauge => describe_gauge!(name, unit, description),
            Kind::Histogram => describe_histogram!(name, unit, description),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_with_their_descriptions_however_often_they_are_installed() {
        install();
        install();
        metrics::counter!("tributary_syncs_started_total").increment(3);
        metrics::histogram!("tributary_sync_duration_seconds").record(0.2);
        let text = render_metrics();
        assert!(text.contains("# HELP tributary_syncs_started_total Syncs asked for"), "{text}");
        assert!(text.contains("tributary_sync_duration_seconds_bucket{le=\"0.25\"}"), "{text}");
    }
}
