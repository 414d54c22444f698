//! Application of flags to options.

use std::path::PathBuf;

use stonechat_auth::Password;

use super::{FlagError, FlagSet, table::Flag};
use crate::{Effect, Options, TlsOptions, Unsupported, options::UnsupportedBlock};

impl FlagSet {
    /// Overrides the options for which flags were given.
    ///
    /// # Errors
    /// Fails if a flag lacks another flag or an option that it requires.
    pub fn apply(&self, options: &mut Options) -> Result<(), FlagError> {
        self.apply_server(options)?;
        self.apply_logging(options);
        self.apply_authorization(options);
        self.apply_jetstream(options);
        self.apply_tls(options)?;
        self.apply_cluster(options)
    }

    fn apply_server(&self, options: &mut Options) -> Result<(), FlagError> {
        let text = |flag| self.text(flag).map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
        let path = |flag| text(flag).map(|text| text.map(PathBuf::from));
        if let Some(host) = self.text(Flag::Addr) {
            host.clone_into(&mut options.host);
        }
        for (flag, port) in [
            (Flag::Port, &mut options.port),
            (Flag::HttpPort, &mut options.http_port),
            (Flag::HttpsPort, &mut options.https_port),
            (Flag::Profile, &mut options.prof_port),
        ] {
            if let Some(number) = self.port(flag)? {
                *port = number;
            }
        }
        set(&mut options.allow_unsupported, self.boolean(Flag::AllowUnsupported));
        set(&mut options.server_name, text(Flag::Name));
        set(&mut options.client_advertise, text(Flag::ClientAdvertise));
        set(&mut options.pid_file, path(Flag::Pid));
        set(&mut options.ports_file_dir, path(Flag::PortsFileDir));
        if self.integer(Flag::HttpsPort).is_some_and(|port| port != 0) {
            unsupported(options, "--https_port", Effect::Restriction);
        }
        if self.integer(Flag::Profile).is_some_and(|port| port != 0) {
            unsupported(options, "--profile", Effect::Ignored);
        }
        Ok(())
    }

    fn port(&self, flag: Flag) -> Result<Option<i32>, FlagError> {
        let Some(number) = self.integer(flag) else { return Ok(None) };
        match i32::try_from(number) {
            Ok(port @ -1..=65_535) => Ok(Some(port)),
            _ => Err(FlagError::PortOutOfRange { flag: flag.name(), port: number }),
        }
    }

    fn apply_logging(&self, options: &mut Options) {
        set(&mut options.log_file, self.text(Flag::Log).map(|path| (!path.is_empty()).then(|| path.into())));
        set(&mut options.logfile_size_limit, self.natural(Flag::LogSizeLimit));
        let length = self.natural(Flag::MaxTracedMsgLen);
        set(&mut options.max_traced_msg_len, length.map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
        set(&mut options.logtime, self.boolean(Flag::Logtime));
        set(&mut options.logtime_utc, self.boolean(Flag::LogtimeUtc));
        set(&mut options.syslog, self.boolean(Flag::Syslog));
        let remote = self.text(Flag::RemoteSyslog);
        set(&mut options.remote_syslog, remote.map(|url| (!url.is_empty()).then(|| url.to_owned())));
        if self.boolean(Flag::Syslog) == Some(true) {
            unsupported(options, "--syslog", Effect::Ignored);
        }
        if remote.is_some_and(|url| !url.is_empty()) {
            unsupported(options, "--remote_syslog", Effect::Ignored);
        }
        set(&mut options.debug, self.boolean(Flag::Debug));
        set(&mut options.trace, self.boolean(Flag::Trace));
        if let Some(on) = self.boolean(Flag::DebugTrace) {
            (options.debug, options.trace) = (on, on);
        }
        if let Some(on) = self.boolean(Flag::DebugTraceVerbose) {
            (options.debug, options.trace, options.trace_verbose) = (on, on, on);
        }
        if let Some(on) = self.boolean(Flag::TraceVerbose) {
            (options.trace, options.trace_verbose) = (on, on);
        }
    }

    fn natural(&self, flag: Flag) -> Option<u64> {
        self.integer(flag).map(|number| u64::try_from(number).unwrap_or(0))
    }

    fn apply_authorization(&self, options: &mut Options) {
        let auth = &mut options.authorization;
        let text = |flag| self.text(flag).map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
        set(&mut auth.user, text(Flag::User));
        set(&mut auth.password, text(Flag::Pass).map(|text| text.map(Password::new)));
        set(&mut auth.token, text(Flag::Auth).map(|text| text.map(Password::new)));
    }

    fn apply_jetstream(&self, options: &mut Options) {
        if let Some(on) = self.boolean(Flag::JetStream) {
            options.jetstream = on;
        }
        if let Some(directory) = self.text(Flag::StoreDir) {
            options.store_dir = (!directory.is_empty()).then(|| directory.into());
        }
    }

    /// Turns TLS on if there is any TLS flag. `-tls=false` turns it off, even if the file turns it on.
    fn apply_tls(&self, options: &mut Options) -> Result<(), FlagError> {
        if self.boolean(Flag::Tls) == Some(false) {
            options.tls = None;
            options.unsupported.retain(|unsupported| !unsupported.field.starts_with("tls."));
            return Ok(());
        }
        let flags = [Flag::Tls, Flag::TlsVerify, Flag::TlsCert, Flag::TlsKey, Flag::TlsCaCert];
        if !flags.into_iter().any(|flag| self.is_given(flag)) {
            return Ok(());
        }
        let file = |flag| self.text(flag).filter(|path| !path.is_empty());
        let certificate = file(Flag::TlsCert).ok_or(FlagError::NoTlsCertificate)?;
        let key = file(Flag::TlsKey).ok_or(FlagError::NoTlsKey)?;
        let mut tls = TlsOptions::new(certificate.into(), key.into());
        tls.verify = self.boolean(Flag::TlsVerify) == Some(true);
        tls.ca_file = file(Flag::TlsCaCert).map(Into::into);
        options.tls = Some(tls);
        Ok(())
    }

    fn apply_cluster(&self, options: &mut Options) -> Result<(), FlagError> {
        if let Some(url) = self.text(Flag::Cluster) {
            options.unsupported.retain(|unsupported| unsupported.field != "cluster");
            if !url.is_empty() {
                check_cluster_url(url)?;
                lacking(options, "cluster", "--cluster");
            }
        }
        if self.text(Flag::Routes).is_some_and(|routes| !routes.is_empty()) {
            let has_cluster = |u: &Unsupported| matches!(u.field.as_str(), "cluster" | "--cluster");
            if !options.unsupported.iter().any(has_cluster) {
                return Err(FlagError::RoutesWithoutCluster);
            }
            lacking(options, "cluster", "--routes");
        }
        Ok(())
    }
}

fn set<T>(option: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *option = value;
    }
}

fn unsupported(options: &mut Options, field: &str, effect: Effect) {
    options.unsupported.push(Unsupported { field: field.to_owned(), position: None, effect });
}

/// Notes a flag that uses the capability of a block, if this version lacks the block.
fn lacking(options: &mut Options, block: &str, flag: &str) {
    if UnsupportedBlock::named(block).is_some() {
        unsupported(options, flag, Effect::Capability);
    }
}

/// Checks that a URL has the form `nats://[user:password@]host:port`; the port may be -1.
fn check_cluster_url(url: &str) -> Result<(), FlagError> {
    let invalid = || FlagError::InvalidClusterUrl(super::redact::hide_user(url));
    let (_, authority) = url.split_once("://").ok_or_else(invalid)?;
    let authority = authority.trim_end_matches('/');
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    let (_, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    if !port.parse().is_ok_and(|port: i32| (-1..=65_535).contains(&port)) {
        return Err(invalid());
    }
    if user.is_some_and(|user| !user.contains(':')) {
        return Err(FlagError::NoClusterPassword);
    }
    Ok(())
}
