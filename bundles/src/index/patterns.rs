//! Which component an entry is: an ordered table of patterns.

use globset::{GlobBuilder, GlobMatcher};

use crate::{Component, FileName};

/// Component by pattern, first match wins. More telling patterns stand before those that match a mere platform, and
/// macOS before Windows, because "darwin" contains "win".
const DEFAULTS: &[(&str, &str)] = &[
    ("osgroups*", "supported-os"),
    ("*supported*os*", "supported-os"),
    ("*{compliance*mac,mac*compliance,compliance*osx,osx*compliance}*", "compliance-module-macos"),
    ("*{compliance*linux,linux*compliance}*", "compliance-module-linux"),
    ("*{compliance*win,win*compliance}*", "compliance-module-windows"),
    ("*{chart*mac,mac*chart,chart*osx,osx*chart,chart*darwin,darwin*chart}*", "av-as-chart-macosx"),
    ("*{chart*linux,linux*chart}*", "av-as-chart-linux"),
    ("*{chart*win,win*chart}*", "av-as-chart-windows"),
    ("*{condition,check,rule}*", "conditions"),
    ("*{mac,osx,darwin}*", "av-as-chart-macosx"),
    ("*linux*", "av-as-chart-linux"),
    ("*win*", "av-as-chart-windows"),
];

/// Of a text that decided, as much is kept as people read: each entry of an index holds one.
const MAX_DECIDING_TEXT: usize = 200;

/// Endings that say how a file is packed and nothing about what it is.
const PACKING: [&str; 6] = [".gz", ".tgz", ".tar", ".zip", ".xml", ".json"];

/// The table of patterns: shell globs without regard to letter case, matched against the file name first, then against
/// what the index says of the entry.
#[derive(Debug, Clone)]
pub struct Patterns {
    rules: Vec<(GlobMatcher, Component)>,
    /// How many of the rules, from the first, are an operator's own.
    own: usize,
}

/// What decided which component a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The pattern, as written.
    pub pattern: String,
    /// Whether it is an operator's own, of `[upstream.components]`, and not a built-in one.
    pub is_own: bool,
    /// The text that it matched.
    pub text: String,
}

/// What the index says of an entry, apart from its locator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Texts to match one after the other, the nearest to the locator first.
    pub texts: Vec<String>,
}

impl Patterns {
    /// The built-in table, with an operator's own rules before it (`[upstream.components]`).
    ///
    /// # Errors
    /// A text that is no glob, or one that names no component.
    pub fn with_overrides(overrides: impl IntoIterator<Item = (String, String)>) -> Result<Self, PatternError> {
        let own = overrides.into_iter().map(|(glob, component)| rule(&glob, &component));
        let mut rules = own.collect::<Result<Vec<_>, _>>()?;
        let own = rules.len();
        for (glob, component) in DEFAULTS {
            rules.push(rule(glob, component)?);
        }
        Ok(Self { rules, own })
    }

    /// The component of a file: by its name, else by the hints in their order, else `other-<name>`.
    #[must_use]
    pub fn component_of(&self, name: &FileName, hints: &Hints) -> Component {
        self.decide(name, hints).0
    }

    /// The same, with what decided it; `None` where no pattern matched.
    #[must_use]
    pub fn decide(&self, name: &FileName, hints: &Hints) -> (Component, Option<Decision>) {
        let decided = self.by_name(name).or_else(|| hints.texts.iter().find_map(|text| self.matching(text)));
        match decided {
            Some((component, decision)) => (component, Some(decision)),
            None => (Component::other(stem(name.as_str())), None),
        }
    }

    pub(super) fn by_name(&self, name: &FileName) -> Option<(Component, Decision)> {
        self.matching(name.as_str())
    }

    pub(super) fn matching(&self, text: &str) -> Option<(Component, Decision)> {
        let number = self.rules.iter().position(|(glob, _)| glob.is_match(text))?;
        let (glob, component) = self.rules.get(number)?;
        let pattern = glob.glob().glob().to_owned();
        let text = text.chars().take(MAX_DECIDING_TEXT).collect();
        Some((component.clone(), Decision { pattern, is_own: number < self.own, text }))
    }
}

impl Default for Patterns {
    fn default() -> Self {
        // A built-in rule that does not compile would be left out here; a test holds that none is.
        let rules = DEFAULTS.iter().filter_map(|(glob, component)| rule(glob, component).ok());
        Self { rules: rules.collect(), own: 0 }
    }
}

fn rule(glob: &str, component: &str) -> Result<(GlobMatcher, Component), PatternError> {
    let matcher = GlobBuilder::new(glob)
        .case_insensitive(true)
        .build()
        .map_err(|source| PatternError::Glob { glob: glob.to_owned(), source })?
        .compile_matcher();
    let component = component
        .parse()
        .map_err(|_| PatternError::Component { glob: glob.to_owned(), component: component.to_owned() })?;
    Ok((matcher, component))
}

/// The name without its packing and without a version at its end, so that `x-1.2.tar.gz` and `x-1.3.tar.gz` are two
/// versions of one component.
#[must_use]
pub fn stem(name: &str) -> &str {
    let mut stem = name;
    while let Some(shorter) = PACKING.iter().find_map(|ending| strip_ending(stem, ending)) {
        stem = shorter;
    }
    let numberless = stem.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let cut = numberless.strip_suffix(['v', 'V']).unwrap_or(numberless);
    match cut.strip_suffix(['-', '_']) {
        Some(base) if stem.len() > numberless.len() && !base.is_empty() => base,
        _ => stem,
    }
}

fn strip_ending<'a>(text: &'a str, ending: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(ending.len()).filter(|at| *at > 0)?;
    text.get(at..).filter(|tail| tail.eq_ignore_ascii_case(ending)).map(|_| &text[..at])
}

/// Why a table of patterns cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// No glob.
    #[error("{glob:?} is not a pattern of file names")]
    Glob {
        /// As written.
        glob: String,
        /// Why not.
        #[source]
        source: globset::Error,
    },
    /// No component.
    #[error(
        "{component:?}, given for {glob:?}, is not a component: conditions, av-as-chart-windows, av-as-chart-macosx, \
         av-as-chart-linux, supported-os, compliance-module-<name> or other-<name>"
    )]
    Component {
        /// The pattern.
        glob: String,
        /// As written.
        component: String,
    },
}

impl crate::Reasoned for PatternError {
    fn reason(&self) -> crate::Reason {
        match self {
            Self::Glob { .. } | Self::Component { .. } => crate::Reason::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, hints: &[&str]) -> String {
        let hints = Hints { texts: hints.iter().map(ToString::to_string).collect() };
        Patterns::default().component_of(&FileName::parse(name).unwrap(), &hints).to_string()
    }

    #[test]
    fn every_built_in_rule_compiles() {
        assert_eq!(Patterns::default().rules.len(), DEFAULTS.len());
    }

    #[test]
    fn names_map_to_components_without_regard_to_case() {
        for (name, component) in [
            ("osgroups.tar.gz", "supported-os"),
            ("OSGroupsV2.tar.gz", "supported-os"),
            ("avchart_WIN.tar.gz", "av-as-chart-windows"),
            ("av-charts-macosx.tgz", "av-as-chart-macosx"),
            ("opswat-darwin.zip", "av-as-chart-macosx"),
            ("linux.tar.gz", "av-as-chart-linux"),
            ("posture-checks.tar.gz", "conditions"),
            ("windows-conditions.tar.gz", "conditions"),
            ("cisco-secure-client-win-4.3.3030.6145-isecompliance.zip", "compliance-module-windows"),
            ("Whatever-1.2.3.tar.gz", "other-whatever"),
            ("plain.tar.gz", "other-plain"),
            ("x1.tar.gz", "other-x1"),
        ] {
            assert_eq!(of(name, &[]), component, "{name}");
        }
        for component in Component::KNOWN {
            assert_eq!(of(&format!("{component}.tar.gz"), &[]), component.to_string());
        }
    }

    #[test]
    fn hints_count_where_the_name_says_nothing() {
        assert_eq!(of("x1.tar.gz", &["chart windows"]), "av-as-chart-windows");
        assert_eq!(of("x1.tar.gz", &["nothing", "check windows"]), "conditions");
        assert_eq!(of("osgroups.tar.gz", &["chart windows"]), "supported-os");
    }

    #[test]
    fn overrides_win_and_mistakes_are_told() {
        let own = |glob: &str, component: &str| Patterns::with_overrides([(glob.to_owned(), component.to_owned())]);
        let patterns = own("X?.tar.gz", "other-special").unwrap();
        let name = |text| FileName::parse(text).unwrap();
        assert_eq!(patterns.component_of(&name("x1.tar.gz"), &Hints::default()).to_string(), "other-special");
        assert_eq!(patterns.component_of(&name("osgroups.gz"), &Hints::default()), Component::SupportedOs);
        let (_, decision) = patterns.decide(&name("X1.tar.gz"), &Hints::default());
        let decision = decision.unwrap();
        assert_eq!(
            (decision.pattern.as_str(), decision.is_own, decision.text.as_str()),
            ("X?.tar.gz", true, "X1.tar.gz")
        );
        let (_, decision) = patterns.decide(&name("y.gz"), &Hints { texts: vec!["macosx".to_owned()] });
        assert_eq!(
            decision.map(|decision| (decision.pattern, decision.is_own)),
            Some(("*{mac,osx,darwin}*".to_owned(), false))
        );
        assert_eq!(patterns.decide(&name("y.gz"), &Hints::default()).1, None);
        assert!(matches!(own("x[", "conditions"), Err(PatternError::Glob { .. })));
        assert!(matches!(own("x", "condition"), Err(PatternError::Component { .. })));
    }
}
