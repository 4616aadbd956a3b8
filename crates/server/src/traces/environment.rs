//! The variables of OpenTelemetry that this server reads itself; the SDK reads the others
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>). Empty counts as not set.

use std::time::Duration;

use registry_proxy_core::config::ConfigError;
use url::Url;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// The variables.
#[derive(Debug, Default)]
pub(super) struct TraceVariables {
    is_disabled: bool,
    endpoint: Option<(&'static str, String)>,
    protocol: Option<String>,
    timeout: Option<String>,
    certificate: Option<String>,
    sampler: Option<String>,
    names_service: bool,
}

/// Where traces go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    variable: &'static str,
    pub(super) url: Url,
}

impl Endpoint {
    /// An error of the variable that names it.
    pub(super) fn wrong(&self, what: &str) -> ConfigError {
        wrong(self.variable, what)
    }
}

fn wrong(variable: &str, what: &str) -> ConfigError {
    ConfigError { place: variable.to_owned(), what: what.to_owned() }
}

impl TraceVariables {
    pub(super) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let of_traces = |name: &str| {
            set(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let is_disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let endpoint = [TRACES_ENDPOINT, ENDPOINT].into_iter().find_map(|name| Some((name, set(name)?)));
        let names_service = set("OTEL_SERVICE_NAME").is_some()
            || set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|value| value.contains("service.name="));
        Self {
            is_disabled,
            endpoint,
            protocol: of_traces("PROTOCOL"),
            timeout: of_traces("TIMEOUT"),
            certificate: of_traces("CERTIFICATE"),
            sampler: set("OTEL_TRACES_SAMPLER"),
            names_service,
        }
    }

    /// Where traces go; `None`: nowhere.
    pub(super) fn endpoint(&self) -> Result<Option<Endpoint>, ConfigError> {
        let Some((variable, text)) = self.endpoint.as_ref().filter(|_| !self.is_disabled) else { return Ok(None) };
        let url = Url::parse(text.trim()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        // Not the value: a token may stand in it.
        let url = url.ok_or_else(|| wrong(variable, "expected http://host:4318 or https://host"))?;
        Ok(Some(Endpoint { variable, url }))
    }

    /// How long an export may take.
    pub(super) fn timeout(&self) -> Duration {
        let millis = self.timeout.as_ref().and_then(|text| text.trim().parse().ok());
        millis.map_or(DEFAULT_TIMEOUT, Duration::from_millis)
    }

    /// A file with certificates that are trusted besides the system's.
    pub(super) fn certificate(&self) -> Option<String> {
        self.certificate.clone()
    }

    /// Whether the SDK finds a name for the service.
    pub(super) fn names_service(&self) -> bool {
        self.names_service
    }

    /// Settings that have no effect.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.protocol.as_deref().is_some_and(|protocol| protocol != "http/protobuf") {
            warnings.push(
                "OTEL_EXPORTER_OTLP_PROTOCOL: traces are sent by http/protobuf, and by no other protocol".into(),
            );
        }
        if self.sampler.as_deref().is_some_and(|sampler| !SAMPLERS.contains(&sampler)) {
            let known = SAMPLERS.join(", ");
            warnings.push(format!("OTEL_TRACES_SAMPLER: expected one of {known}; parentbased_always_on is used"));
        }
        if self.timeout.as_ref().is_some_and(|text| text.trim().parse::<u64>().is_err()) {
            warnings.push("OTEL_EXPORTER_OTLP_TIMEOUT: expected milliseconds; 10000 is used".into());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &'static [(&str, &str)]) -> TraceVariables {
        TraceVariables::read(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn endpoint(variables: &'static [(&str, &str)]) -> Option<String> {
        of(variables).endpoint().unwrap().map(|endpoint| endpoint.url.to_string())
    }

    #[test]
    fn traces_are_exported_where_an_endpoint_is_named_and_nothing_forbids_it() {
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[(ENDPOINT, " ")]), None);
        assert_eq!(endpoint(&[(ENDPOINT, "http://c.test:4318")]).as_deref(), Some("http://c.test:4318/"));
        let both = &[(ENDPOINT, "http://c.test"), (TRACES_ENDPOINT, "http://t.test/v1/traces")];
        assert_eq!(endpoint(both).as_deref(), Some("http://t.test/v1/traces"));
        assert_eq!(endpoint(&[(ENDPOINT, "http://c.test"), ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(endpoint(&[(ENDPOINT, "http://c.test"), ("OTEL_TRACES_EXPORTER", "none")]), None);
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused_without_its_value() {
        for value in [(ENDPOINT, "c.test:4318"), (ENDPOINT, "grpc://s3cret@c.test"), (ENDPOINT, "http://")] {
            let variables: &'static [_] = Box::leak(Box::new([value]));
            let error = of(variables).endpoint().unwrap_err();
            assert!(error.place == ENDPOINT && !error.what.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn settings_without_effect_are_told() {
        let odd = of(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ]);
        assert_eq!((odd.warnings().len(), odd.timeout()), (3, DEFAULT_TIMEOUT));
        let fine = of(&[
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ]);
        assert_eq!((fine.warnings().len(), fine.timeout()), (0, Duration::from_millis(2500)));
    }
}
