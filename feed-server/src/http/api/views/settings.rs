//! The configuration as it holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Setting;

/// The configuration as it holds. No value is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// The configuration file; absent where there is none.
    pub file: Option<String>,
    /// Every key, in the order of the reference, and what else is used of the environment and of credentials.
    pub settings: Vec<SettingView>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingView {
    /// Such as `schedule.every`; names with a blank are no keys of the file.
    pub key: String,
    /// As it would be written in the file; absent where nothing is set. Secrets are `(hidden)`.
    pub value: Option<String>,
    /// `default`, `file`, `environment`, `command_line`, `secret_file` or `credential`.
    pub origin: String,
    /// `FILE:LINE`, the variable, the option or the file; absent for a default.
    pub place: Option<String>,
}

impl SettingsView {
    /// Of settings, and of the file that was read.
    #[must_use]
    pub fn new(file: Option<&std::path::Path>, settings: &[Setting]) -> Self {
        Self {
            file: file.map(|path| path.display().to_string()),
            settings: settings.iter().map(SettingView::from).collect(),
        }
    }
}

impl From<&Setting> for SettingView {
    fn from(setting: &Setting) -> Self {
        Self {
            key: setting.key.clone(),
            value: setting.value.clone(),
            origin: setting.origin.as_str().to_owned(),
            place: setting.origin.place(),
        }
    }
}
