//! Hands each measurement to Prometheus' recorder and, once there is a collector,
//! to OpenTelemetry as well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::PrometheusRecorder;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;

static METER: OnceLock<Meter> = OnceLock::new();

/// From now on measurements go to this provider too.
pub(super) fn use_provider(provider: &SdkMeterProvider) {
    // A second provider in one process would be a second `init`, which fails.
    let _ = METER.set(provider.meter("tributary"));
}

/// Instruments by name: making one anew for each measurement would be slow.
#[derive(Default)]
struct Instruments {
    counters: HashMap<String, opentelemetry::metrics::Counter<u64>>,
    gauges: HashMap<String, opentelemetry::metrics::Gauge<f64>>,
    histograms: HashMap<String, opentelemetry::metrics::Histogram<f64>>,
}

/// Both recorders.
pub(super) struct Both {
    prometheus: PrometheusRecorder,
    instruments: Mutex<Instruments>,
}

impl Both {
    pub(super) fn new(prometheus: PrometheusRecorder) -> Self {
        Self { prometheus, instruments: Mutex::default() }
    }

    fn with_instruments<T>(&self, take: impl FnOnce(&Meter, &mut Instruments) -> T) -> Option<T> {
        let meter = METER.get()?;
        Some(take(meter, &mut self.instruments.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn attributes(key: &Key) -> Vec<KeyValue> {
    key.labels().map(|label| KeyValue::new(label.key().to_owned(), label.value().to_owned())).collect()
}

impl Recorder for Both {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.prometheus.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.prometheus.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.prometheus.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let local = self.prometheus.register_counter(key, metadata);
        let name = key.name().to_owned();
        let remote = self.with_instruments(|meter, instruments| {
            let make = || meter.u64_counter(name.clone()).build();
            instruments.counters.entry(name.clone()).or_insert_with(make).clone()
        });
        match remote {
            Some(remote) => Counter::from_arc(Arc::new(BothCounters { local, remote, attributes: attributes(key) })),
            None => local,
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let local = self.prometheus.register_gauge(key, metadata);
        let name = key.name().to_owned();
        let remote = self.with_instruments(|meter, instruments| {
            let make = || meter.f64_gauge(name.clone()).build();
            instruments.gauges.entry(name.clone()).or_insert_with(make).clone()
        });
        match remote {
            Some(remote) => Gauge::from_arc(Arc::new(BothGauges { local, remote, attributes: attributes(key) })),
            None => local,
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let local = self.prometheus.register_histogram(key, metadata);
        let name = key.name().to_owned();
        let remote = self.with_instruments(|meter, instruments| {
            let make = || meter.f64_histogram(name.clone()).build();
            instruments.histograms.entry(name.clone()).or_insert_with(make).clone()
        });
        match remote {
            Some(remote) => {
                Histogram::from_arc(Arc::new(BothHistograms { local, remote, attributes: attributes(key) }))
            }
            None => local,
        }
    }
}

struct BothCounters {
    local: Counter,
    remote: opentelemetry::metrics::Counter<u64>,
    attributes: Vec<KeyValue>,
}

impl CounterFn for BothCounters {
    fn increment(&self, value: u64) {
        self.local.increment(value);
        self.remote.add(value, &self.attributes);
    }

    /// OpenTelemetry's counters cannot be set; none of ours is.
    fn absolute(&self, value: u64) {
        self.local.absolute(value);
    }
}

struct BothGauges {
    local: Gauge,
    remote: opentelemetry::metrics::Gauge<f64>,
    attributes: Vec<KeyValue>,
}

impl GaugeFn for BothGauges {
    /// OpenTelemetry's gauges can only be set; ours are set.
    fn increment(&self, value: f64) {
        self.local.increment(value);
    }

    fn decrement(&self, value: f64) {
        self.local.decrement(value);
    }

    fn set(&self, value: f64) {
        self.local.set(value);
        self.remote.record(value, &self.attributes);
    }
}

struct BothHistograms {
    local: Histogram,
    remote: opentelemetry::metrics::Histogram<f64>,
    attributes: Vec<KeyValue>,
}

impl HistogramFn for BothHistograms {
    fn record(&self, value: f64) {
        self.local.record(value);
        self.remote.record(value, &self.attributes);
    }
}
