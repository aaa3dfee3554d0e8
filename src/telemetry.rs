//! Logs, traces and metrics. Logs go to standard error; metrics are always kept
//! for `/metrics`; traces and metrics also go to an OTLP collector when one is
//! configured.

pub mod metrics;
mod otlp_metrics;
pub mod trace_context;

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, TelemetryConfig};

pub use metrics::render_metrics;

/// Libraries that print statements with their values, headers or bodies below
/// `warn`; whatever the operator asks for, that never reaches a log or a trace.
const QUIET: &[&str] = &[
    "async_imap",
    "h2",
    "hickory_net",
    "hickory_proto",
    "hickory_resolver",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "rustls",
    "sea_orm",
    "sea_orm_migration",
    "sqlx",
    "tantivy",
    "tokio_postgres",
    "tokio_util",
    "tonic",
    "tower",
    "tower_http",
];

/// Those of them that warn of what any peer may do, which could fill a disk.
const ERRORS_ONLY: &[&str] = &["h2", "hyper"];

const EXPORT_TIME: Duration = Duration::from_secs(10);
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// Why telemetry cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level or filter is not one.
    #[error("`log_level` is neither a level nor a filter")]
    Level(#[source] tracing_subscriber::filter::ParseError),
    /// The collector cannot be used.
    #[error("`otlp_endpoint` cannot be used")]
    Collector(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Something else in this process has set up logs before.
    #[error("logs are set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends what is left when it is dropped or shut down.
#[must_use = "dropping it ends telemetry"]
pub struct Telemetry {
    exporters: Option<(SdkTracerProvider, SdkMeterProvider)>,
}

impl Telemetry {
    /// Sends what is left. Waits for the collector, at most some seconds.
    pub fn shutdown(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        if let Some((traces, metrics)) = self.exporters.take() {
            // A collector that is away is no reason not to end.
            let _ = traces.shutdown_with_timeout(FLUSH_TIME);
            let _ = metrics.shutdown_with_timeout(FLUSH_TIME);
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Sets up logs, traces and metrics for this process; once, inside its runtime.
pub fn init(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let exporters = config.otlp_endpoint.as_deref().map(exporters).transpose().map_err(TelemetryError::Collector)?;
    let traces = match &exporters {
        Some((traces, meters)) => {
            otlp_metrics::use_provider(meters);
            let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("tributary"));
            Some(layer.with_filter(levels(config)?.and(filter_fn(is_harmless))))
        }
        None => None,
    };
    metrics::install();
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::registry()
        .with(lines(config, std::io::stderr, ansi)?)
        .with(traces)
        .try_init()
        .map_err(TelemetryError::Twice)?;
    Ok(Telemetry { exporters })
}

fn levels(config: &TelemetryConfig) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&config.log_level)
        .map_err(TelemetryError::Level)
}

/// The log's lines, each written at once; in colours with `ansi`.
pub fn lines<S, W>(
    config: &TelemetryConfig,
    writer: W,
    ansi: bool,
) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let filter = levels(config)?.and(filter_fn(is_harmless));
    Ok(match config.log_format {
        LogFormat::Text => layer.with_ansi(ansi).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    let least = if ERRORS_ONLY.contains(&library) { Level::ERROR } else { Level::WARN };
    *metadata.level() <= least || !QUIET.contains(&library)
}

type Exporters = (SdkTracerProvider, SdkMeterProvider);

fn exporters(endpoint: &str) -> Result<Exporters, opentelemetry_otlp::ExporterBuildError> {
    let resource = Resource::builder()
        .with_service_name("tributary")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let spans = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIME)
        .build()?;
    let metrics = opentelemetry_otlp::MetricExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIME)
        .build()?;
    Ok((
        SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build(),
        SdkMeterProvider::builder().with_periodic_exporter(metrics).with_resource(resource).build(),
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn talkative_libraries_stay_quiet_even_at_trace() {
        let config =
            TelemetryConfig { log_level: "trace".to_owned(), log_format: LogFormat::Text, otlp_endpoint: None };
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = lines(&config, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "tributary::store", "ours");
            tracing::debug!(target: "tokio_postgres::query", "theirs");
            tracing::info!(target: "sqlx::query", "theirs");
            tracing::warn!(target: "sqlx::query", "slow");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("ours") && text.contains("slow") && !text.contains("theirs"), "{text}");
    }

    #[test]
    fn a_wrong_level_is_refused() {
        let config = TelemetryConfig {
            log_level: "tributary=loud".to_owned(),
            log_format: LogFormat::Json,
            otlp_endpoint: None,
        };
        assert!(levels(&config).is_err());
    }
}
