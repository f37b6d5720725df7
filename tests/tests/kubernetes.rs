//! The Kubernetes manifests: kubectl renders them, Kubernetes' schemas know all that is in them, their parts fit each other and the
//! configuration, and a server that is started as they say answers what they ask.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use certs::lab::Chain;
use serde_json::{Value, json};
use tests::peers::{curl, kubernetes};
use tests::world::{DEADLINE, Invocation, Signal, World, binaries, wait_for};
use url::Url;

const ALL: [&str; 2] = ["base", "relay"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).join("deploy/kubernetes").join(name)
}

/// What one of the folders comes to.
struct Rendered(Vec<Value>);

impl Rendered {
    fn of(name: &str) -> Result<Self> {
        Ok(Self(kubernetes::objects(&kubernetes::kustomize(&folder(name))?)?))
    }

    fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The one object of that kind.
    fn one(&self, kind: &str) -> Result<&Value> {
        let mut all = self.all(kind);
        match (all.next(), all.next()) {
            (Some(object), None) => Ok(object),
            _ => bail!("there is not one {kind}"),
        }
    }

    fn pod(&self) -> Result<&Value> {
        Ok(&self.one("StatefulSet")?["spec"]["template"]["spec"])
    }

    fn container(&self) -> Result<&Value> {
        Ok(&self.pod()?["containers"][0])
    }

    /// The configuration that the server is given.
    fn config(&self) -> Result<String> {
        let text = self.one("ConfigMap")?["data"]["feed-server.toml"].as_str();
        text.map(str::to_owned).context("there is no configuration")
    }

    /// What the server listens on: its port for everybody, and monitoring's.
    fn ports(&self) -> Result<(u64, u64)> {
        let config: toml::Table = self.config()?.parse()?;
        let port = |key: &str| {
            let address = config.get("listen").and_then(|listen| listen.get(key)).and_then(|value| value.as_str());
            let address: std::net::SocketAddr = address.with_context(|| format!("no {key}"))?.parse()?;
            ensure!(address.ip().is_unspecified(), "{address} is not reached from outside of the pod");
            Ok(u64::from(address.port()))
        };
        Ok((port("address")?, port("metrics_address")?))
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name_of(object: &Value) -> Result<&str> {
    object["metadata"]["name"].as_str().context("an object has a name")
}

#[test]
fn kubernetes_knows_all_that_is_in_them() -> Result<()> {
    for name in ALL {
        let rendered = Rendered(kubernetes::checked_objects(&kubernetes::kustomize(&folder(name))?)?);
        for kind in ["Namespace", "ConfigMap", "StatefulSet", "ServiceMonitor", "NetworkPolicy"] {
            rendered.one(kind).with_context(|| name.to_owned())?;
        }
        let namespace = name_of(rendered.one("Namespace")?)?;
        for object in rendered.0.iter().filter(|object| object["kind"] != "Namespace") {
            ensure!(object["metadata"]["namespace"] == namespace, "{name}: {object} is elsewhere");
        }
    }
    let placeholders = kubernetes::checked_objects(&std::fs::read_to_string(folder("secrets.example.yaml"))?)?;
    ensure!(placeholders.len() == 2, "{placeholders:?}");

    // It would be noticed.
    let misspelt = "apiVersion: v1\nkind: Service\nmetadata: { name: it }\nspec: { externalTraficPolicy: Local }\n";
    ensure!(kubernetes::checked_objects(misspelt).is_err(), "a key that Kubernetes does not know is not noticed");
    let old = "apiVersion: networking.k8s.io/v1beta1\nkind: NetworkPolicy\nmetadata: { name: it }\nspec: {}\n";
    ensure!(kubernetes::checked_objects(old).is_err(), "a version that Kubernetes does not know is not noticed");
    Ok(())
}

#[test]
fn one_mirror_runs_and_may_do_nothing_that_it_does_not_need() -> Result<()> {
    for name in ALL {
        let rendered = Rendered::of(name)?;
        ensure!(rendered.one("StatefulSet")?["spec"]["replicas"] == 1, "{name}: two mirrors would be two origins");
        ensure!(rendered.one("Namespace")?["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted");
        let pod = rendered.pod()?;
        let security = &pod["securityContext"];
        ensure!(security["runAsNonRoot"] == true && security["seccompProfile"]["type"] == "RuntimeDefault", "{name}");
        ensure!(security["runAsUser"].as_u64().is_some_and(|user| user > 0), "{name}");
        // Keys are 0600, and the server refuses those that were opened to the group.
        ensure!(security["fsGroupChangePolicy"] == "OnRootMismatch", "{name}");
        ensure!(pod["automountServiceAccountToken"] == false, "{name}");
        let image = format!(":{}", env!("CARGO_PKG_VERSION"));
        for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
            let security = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            });
            ensure!(container["securityContext"] == security, "{name}: {container}");
            ensure!(container["resources"]["limits"]["memory"].is_string(), "{name}: {container}");
            ensure!(
                container["image"].as_str().is_some_and(|it| it.ends_with(&image)),
                "{name}: {}",
                container["image"]
            );
        }
    }
    Ok(())
}

#[test]
fn services_policies_and_probes_mean_what_the_configuration_says() -> Result<()> {
    for name in ALL {
        let rendered = Rendered::of(name)?;
        let (everybody, monitoring) = rendered.ports()?;
        let container = rendered.container()?;
        let port = |wanted: &Value| {
            let named = list(&container["ports"]).find(|port| &port["name"] == wanted);
            named.map_or(wanted.as_u64(), |port| port["containerPort"].as_u64())
        };
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            ensure!(port(&container[probe]["httpGet"]["port"]) == Some(monitoring), "{name}: {probe}");
        }

        // Every service leads to this pod, and where it should.
        let labels = &rendered.one("StatefulSet")?["spec"]["template"]["metadata"]["labels"];
        for service in rendered.all("Service") {
            let selector = service["spec"]["selector"].as_object().context("a selector")?;
            ensure!(selector.iter().all(|(key, value)| &labels[key] == value), "{name}: {selector:?} {labels}");
            let wanted = if name_of(service)?.ends_with("monitoring") { monitoring } else { everybody };
            for each in list(&service["spec"]["ports"]) {
                ensure!(port(&each["targetPort"]) == Some(wanted), "{name}: {service}");
            }
        }
        let governing = rendered.one("StatefulSet")?["spec"]["serviceName"].as_str();
        let is_governing =
            |service: &&Value| name_of(service).ok() == governing && service["spec"]["clusterIP"] == "None";
        ensure!(rendered.all("Service").filter(is_governing).count() == 1, "{name}: {governing:?}");

        // Prometheus finds monitoring and nothing else, under a job that the alerts ask for.
        let monitor = &rendered.one("ServiceMonitor")?["spec"];
        let wanted = monitor["selector"]["matchLabels"].as_object().context("a selector")?;
        let is_found =
            |service: &&Value| wanted.iter().all(|(key, value)| &service["metadata"]["labels"][key] == value);
        let found: Vec<&Value> = rendered.all("Service").filter(is_found).collect();
        ensure!(found.len() == 1, "{name}: {found:?}");
        ensure!(name_of(found[0])?.starts_with("posture-feed"), "{name}: the alerts do not ask for this job");
        for endpoint in list(&monitor["endpoints"]) {
            ensure!(
                list(&found[0]["spec"]["ports"]).any(|port| port["name"] == endpoint["port"]),
                "{name}: {endpoint}"
            );
        }

        // In: everybody to the one, somebody to the other, and no more. Out: names, and the way upstream.
        let policy = &rendered.one("NetworkPolicy")?["spec"];
        let ports =
            |rule: &Value| -> BTreeSet<u64> { list(&rule["ports"]).filter_map(|port| port["port"].as_u64()).collect() };
        let mut let_in = BTreeSet::new();
        for rule in list(&policy["ingress"]) {
            ensure!(!ports(rule).contains(&monitoring) || rule["from"].is_array(), "{name}: everybody may scrape it");
            let_in.extend(ports(rule));
        }
        ensure!(let_in == BTreeSet::from([everybody, monitoring]), "{name}: {let_in:?}");
        let let_out: BTreeSet<u64> = list(&policy["egress"]).flat_map(&ports).collect();
        let config: toml::Table = rendered.config()?.parse()?;
        let upstream = config.get("upstream").and_then(|upstream| upstream.get("url")).and_then(|url| url.as_str());
        // The vendor's is https.
        let upstream = match upstream {
            Some(url) => Url::parse(url)?.port_or_known_default().map(u64::from),
            None => Some(443),
        };
        ensure!(let_out.contains(&53) && upstream.is_some_and(|port| let_out.contains(&port)), "{name}: {let_out:?}");
    }
    Ok(())
}

#[test]
fn every_file_that_is_named_is_mounted_and_every_volume_is_somewhere() -> Result<()> {
    let placeholders = kubernetes::objects(&std::fs::read_to_string(folder("secrets.example.yaml"))?)?;
    let secrets: BTreeSet<&str> = placeholders.iter().map(name_of).collect::<Result<_>>()?;
    for name in ALL {
        let rendered = Rendered::of(name)?;
        let (pod, set) = (rendered.pod()?, rendered.one("StatefulSet")?);
        let claims = list(&set["spec"]["volumeClaimTemplates"]).map(|claim| &claim["metadata"]["name"]);
        let volumes: Vec<&Value> = list(&pod["volumes"]).map(|volume| &volume["name"]).chain(claims).collect();
        for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
            let mounts: Vec<&Value> = list(&container["volumeMounts"]).collect();
            ensure!(mounts.iter().all(|mount| volumes.contains(&&mount["name"])), "{name}: {mounts:?}");
            for path in paths_in(&rendered.config()?) {
                let is_below =
                    |mount: &&Value| mount["mountPath"].as_str().is_some_and(|at| Path::new(&path).starts_with(at));
                ensure!(mounts.iter().any(is_below), "{name}: {path} is on no volume");
            }
        }
        for volume in list(&pod["volumes"]) {
            if let Some(secret) = volume["secret"]["secretName"].as_str() {
                ensure!(secrets.contains(secret), "{name}: {secret} has no placeholder");
                // Nobody outside of the group, or passwords are refused.
                ensure!(volume["secret"]["defaultMode"] == 0o440, "{name}: {volume}");
            }
        }
        let config = name_of(rendered.one("ConfigMap")?)?;
        ensure!(list(&pod["volumes"]).any(|volume| volume["configMap"]["name"] == config), "{name}: {config}");
    }
    Ok(())
}

/// The absolute paths that a configuration names.
fn paths_in(config: &str) -> Vec<String> {
    let quoted =
        config.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split('"').skip(1).step_by(2));
    quoted.filter(|text| text.starts_with('/')).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_real_server_starts_as_they_say_and_answers_the_probes() -> Result<()> {
    let programs = binaries().await?;
    let origin = World::builder().build().await?;
    for name in ALL {
        let rendered = Rendered::of(name)?;
        let scratch = tempfile::tempdir()?;
        // Every path below a folder of ours; what the volumes bring, in its place.
        let mut config = rendered.config()?;
        for path in paths_in(&config) {
            let moved = scratch.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(moved.parent().context("a path lies somewhere")?)?;
            config = config.replace(&format!("\"{path}\""), &format!("\"{}\"", moved.display()));
        }
        let (everybody, monitoring) = rendered.ports()?;
        let tls = Chain::builder().names(["localhost"]).loopback().build()?;
        std::fs::write(scratch.path().join("run/posture-feed/tls/tls.crt"), tls.presented_pem())?;
        std::fs::write(scratch.path().join("run/posture-feed/tls/tls.key"), tls.leaf_key_pem())?;
        let from_origin = scratch.path().join("run/posture-feed/origin");
        if from_origin.exists() {
            origin.export_root(&from_origin.join("root.json")).await?;
            std::fs::write(from_origin.join("ca.pem"), &tls.root.pem)?;
        }
        // Other tests listen here, too, and the vendor is left alone.
        config = config.replace(&format!("0.0.0.0:{everybody}"), "127.0.0.1:0");
        config = config.replace(&format!("0.0.0.0:{monitoring}"), "127.0.0.1:0");
        config += "\n[schedule]\ninitial_delay = \"24:00:00\"\n";
        let file = scratch.path().join("feed-server.toml");
        std::fs::write(&file, config)?;

        let invocation = |container: &Value| {
            let arguments: Vec<&str> = list(&container["args"]).filter_map(Value::as_str).collect();
            let variables: Vec<(&str, &str)> =
                list(&container["env"]).filter_map(|it| Some((it["name"].as_str()?, it["value"].as_str()?))).collect();
            let is_config = |(key, _): &(&str, &str)| *key == "POSTURE_FEED_SERVER_CONFIG";
            ensure!(variables.iter().any(is_config), "{name}: no configuration is named");
            let mut invocation = Invocation::new(&programs.feed_server).args(arguments);
            for (key, value) in variables {
                invocation = invocation.env(key, value);
            }
            Ok(invocation.env("POSTURE_FEED_SERVER_CONFIG", &file))
        };
        invocation(&rendered.pod()?["initContainers"][0])?.output().await?.success()?;
        let container = rendered.container()?;
        let mut server = invocation(container)?.start(&scratch.path().join("server.log"))?;
        let listening = scratch.path().join("var/lib/posture-feed/mirror/listening.json");
        let said = wait_for(DEADLINE, "the server listens", async || {
            serde_json::from_slice::<Value>(&std::fs::read(&listening).ok()?).ok()
        });
        let said = said.await.with_context(|| server.tail())?;
        ensure!(said["tls"] == true, "{said}");
        let monitoring = said["metrics_address"].as_str().context("no listener for monitoring")?;
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = container[probe]["httpGet"]["path"].as_str().context("a path")?;
            curl(&Url::parse(&format!("http://{monitoring}{path}"))?, None)?;
        }
        server.signal(Signal::TERM)?;
        ensure!(server.end(DEADLINE).await?.success(), "{}", server.tail());
    }
    Ok(())
}
