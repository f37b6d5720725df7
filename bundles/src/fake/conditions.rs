//! Predefined checks and rules, named as the vendor names them, and the policies that are created once.

use std::fmt::Write;

use super::Edition;
use super::rng::Numbers;

/// Checks of the first edition; each edition adds a few.
const CHECKS: u32 = 400;
const ADDED: u32 = 5;

const SYSTEMS: [&str; 4] = ["Windows 10 (All)", "Windows 11 (All)", "Windows Server 2022", "Mac OSX"];

const RULES: [(&str, &str); 5] = [
    ("pr_AutoUpdateCheck_Rule", "pc_AutoUpdateCheck &amp; !pc_AutoUpdateDisabled"),
    ("pr_CSA_Agent_Service_Running", "pc_CSA_Agent_Installed &amp; pc_CSA_Agent_Running"),
    ("pr_WSUSRule", "pc_WSUS_Registered | pc_AutoUpdateCheck"),
    ("pr_Win10_64_Hotfixes", "pc_Hotfix4500000 &amp; pc_Hotfix4500001"),
    ("pr_Win11_64_Hotfixes", "pc_Hotfix4500002 &amp; pc_Hotfix4500003"),
];

const POLICIES: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<policies>\n  \
    <policy name=\"Default_AntiMalware_Policy_Win\" os=\"Windows All\" requirement=\"Any_AM_Installation_Win\" status=\"disabled\"/>\n  \
    <policy name=\"Default_AntiMalware_Policy_Mac\" os=\"Mac OSX\" requirement=\"Any_AM_Installation_Mac\" status=\"disabled\"/>\n  \
    <policy name=\"Default_AntiMalware_Policy_Lin\" os=\"Linux All\" requirement=\"Any_AM_Installation_Lin\" status=\"disabled\"/>\n\
    </policies>\n";

const REQUIREMENTS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<requirements>\n  \
    <requirement name=\"Any_AM_Installation_Win\" os=\"Windows All\" condition=\"ANY_am_win_inst\" remediation=\"Message Text Only\"/>\n  \
    <requirement name=\"Any_AM_Installation_Mac\" os=\"Mac OSX\" condition=\"ANY_am_mac_inst\" remediation=\"Message Text Only\"/>\n  \
    <requirement name=\"Any_AM_Installation_Lin\" os=\"Linux All\" condition=\"ANY_am_lin_inst\" remediation=\"Message Text Only\"/>\n\
    </requirements>\n";

const REMEDIATIONS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<remediations>\n  \
    <remediation name=\"Message Text Only\" type=\"message\"/>\n  \
    <remediation name=\"AnyAMDefRemediationWin\" type=\"am-update\" os=\"Windows All\"/>\n\
    </remediations>\n";

pub(super) fn members(edition: &Edition) -> Vec<(String, Vec<u8>)> {
    [
        ("checks.xml", checks(edition)),
        ("rules.xml", rules()),
        ("defaults/policies.xml", POLICIES.to_owned()),
        ("defaults/requirements.xml", REQUIREMENTS.to_owned()),
        ("defaults/remediations.xml", REMEDIATIONS.to_owned()),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.into_bytes()))
    .collect()
}

fn checks(edition: &Edition) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<checks>\n");
    for name in ["AutoUpdateCheck", "AutoUpdateDisabled", "CSA_Agent_Installed", "CSA_Agent_Running", "WSUS_Registered"]
    {
        let _ = writeln!(xml, "  <check name=\"pc_{name}\" type=\"service\" os=\"Windows All\"/>");
    }
    for number in 0..CHECKS + ADDED * edition.number() {
        let mut numbers = Numbers::new(u64::from(number));
        let system = numbers.pick(&SYSTEMS).copied().unwrap_or_default();
        let _ = writeln!(
            xml,
            "  <check name=\"pc_Hotfix{}\" type=\"registry\" os=\"{system}\" \
             path=\"HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\HotFix\\KB{:07}\" operator=\"exists\"/>",
            4_500_000 + number,
            numbers.below(10_000_000),
        );
    }
    xml.push_str("</checks>\n");
    xml
}

fn rules() -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rules>\n");
    for (name, expression) in RULES {
        let _ = writeln!(xml, "  <rule name=\"{name}\" expression=\"{expression}\"/>");
    }
    xml.push_str("</rules>\n");
    xml
}
