//! Charts of products and operating systems, in the shape of the real OPSWAT charts: wrapped in an `xsl:stylesheet` of
//! version 1.0, with a DOCTYPE, and with an `SDKVersion` that is not the chart's own version.

use std::fmt::Write;

use super::rng::Numbers;
use super::{Edition, RealChart};

const OPEN: &str = "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"no\"?>\n\
    <?xml-stylesheet type=\"text/xsl\" href=\"#sc_stylesheet\"?>\n\
    <!DOCTYPE supportchart [<!ATTLIST xsl:stylesheet id ID #REQUIRED>]>\n\n\
    <xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" id=\"sc_stylesheet\" version=\"1.0\">\n\
    \t<xsl:output method=\"html\" omit-xml-declaration=\"yes\"/>\n\
    \t<xsl:variable name=\"support_chart\">\n\t\t<supportchart>\n";
const CLOSE: &str = "\t\t\t</Table>\n\t\t</supportchart>\n\t</xsl:variable>\n</xsl:stylesheet>\n";

const VENDORS: [&str; 16] = [
    "Aldgate Software",
    "Bergkamp &amp; Söhne",
    "Corvus Labs",
    "Delphi Endpoint",
    "Ermine Security",
    "Fjord IT AB",
    "Gannet Systems",
    "Halcyon Data",
    "Ibex Computing",
    "Jasper Networks",
    "Kestrel Ltd.",
    "Lumen 安全",
    "Marlin Corp.",
    "Narwhal s.r.o.",
    "Osprey Inc.",
    "Petrel GmbH",
];
const PRODUCTS: [&str; 8] = [
    "Antivirus",
    "Endpoint Protection",
    "Internet Security",
    "Total Security",
    "Client Security",
    "Antispyware",
    "Business Agent",
    "Cloud Defense",
];
const METHODS: [&str; 12] = [
    "GetVersion",
    "GetRunningState",
    "Run",
    "TerminateProcesses",
    "GetComponents",
    "GetProductInfo",
    "GetRealTimeProtectionState",
    "GetDefinitionState",
    "GetThreats",
    "UpdateDefinitions",
    "GetLastScanTime",
    "EnableRTP",
];

/// One row in this many changes from an edition to the next, as between two real charts.
const CHANGES: u64 = 200;

/// Rows that each edition adds.
const ADDED: usize = 3;

pub(super) fn windows(edition: &Edition, rows: usize) -> String {
    products(edition, rows, "ANTIMALWARE_Windows_Support_Chart", 5_107, 1)
}

pub(super) fn macosx(edition: &Edition, rows: usize) -> String {
    products(edition, rows, "ANTIMALWARE_Mac_Support_Chart", 4_314, 2)
}

pub(super) fn linux(edition: &Edition, rows: usize) -> String {
    products(edition, rows, "ANTIMALWARE_Linux_Support_Chart", 3_919, 3)
}

fn products(edition: &Edition, rows: usize, name: &str, build: u32, seed: u64) -> String {
    let rows = rows + ADDED * usize::try_from(edition.number() - 1).unwrap_or(0);
    let mut xml = String::with_capacity(rows * 640);
    xml.push_str(OPEN);
    table(&mut xml, edition, name, build);
    // Rows of a product stand together, and neighbours differ little: that is what makes real charts inflate so much.
    let mut row = 0;
    let mut product: u64 = 0;
    while row < rows {
        let mut numbers = Numbers::new(seed << 32 | product);
        let vendor = numbers.pick(&VENDORS).copied().unwrap_or_default();
        let title = format!("{} {}", vendor.split(' ').next().unwrap_or_default(), PRODUCTS[product as usize % 8]);
        let id = seed * 100_000 + product;
        let _ = writeln!(xml, "\t\t\t\t<Vendor Vendor_ID=\"{}\" Vendor_Name=\"{vendor}\">", id + 7);
        let count = usize::try_from(4 + numbers.below(12)).unwrap_or(4);
        for minor in 0..count.min(rows - row) {
            support(&mut xml, edition, &mut numbers, id, &title, minor);
            row += 1;
        }
        xml.push_str("\t\t\t\t</Vendor>\n");
        product += 1;
    }
    xml.push_str(CLOSE);
    xml
}

/// A row: the same in every edition but for those whose turn it was.
fn support(xml: &mut String, edition: &Edition, numbers: &mut Numbers, id: u64, title: &str, minor: usize) {
    let turn = numbers.below(CHANGES);
    let major = 4 + numbers.below(18);
    let now = u64::from(edition.number());
    let touched = (2..=now).filter(|number| number % CHANGES == turn).count();
    let _ = write!(
        xml,
        "\t\t\t\t\t<Support Product_ID=\"{id}\" Product_Name=\"{title}\" Signature_ID=\"{}\" Tested_Points=\"{major}.{minor}.{touched}\" \
         Release_Name=\"\" Test_Covered_Major_Version=\"{major}\" Test_Covered_Minor_Version=\"{major}.{minor}.X\" \
         Signature_Name=\"{title}\" Marketing_Alias_Names=\"\" Supported_Languages=\"EN\" Legacy_OESIS_V3_ProductInfo=\"\"",
        id + 1_000
    );
    for method in METHODS {
        let mark = if (id + method.len() as u64).is_multiple_of(5) { "X" } else { "v" };
        let _ = write!(xml, " {method}=\"{mark}\"");
    }
    xml.push_str("/>\n");
}

fn table(xml: &mut String, edition: &Edition, name: &str, build: u32) {
    let number = edition.number();
    let _ = writeln!(
        xml,
        "\t\t\t<Table CreatedOn=\"edition {number}\" Name=\"{name}\" SDKVersion=\"4.3.{}.0\" Timestamp=\"{}.25\">",
        build + 9 * number,
        1_755_500_000 + 86_400 * u64::from(number),
    );
}

pub(super) fn os_groups(edition: &Edition, second_form: bool) -> String {
    const SYSTEMS: [(&str, &[&str]); 4] = [
        ("Windows", &["Windows 10 (All)", "Windows 11 (All)", "Windows Server 2022", "Windows All"]),
        ("Mac OSX", &["Mac OSX 10.15", "macOS 12 (All)", "macOS 13 (All)", "macOS 14 (All)", "Mac OSX"]),
        ("Linux", &["Debian 12", "Red Hat 9", "SUSE 15", "Ubuntu 24.04", "Linux All"]),
        ("Mobile", &["Android", "Apple iOS All"]),
    ];
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<osgroups>\n");
    for (group, systems) in SYSTEMS {
        let _ = writeln!(xml, "  <group name=\"{group}\">");
        for (number, system) in systems.iter().enumerate() {
            let id = if second_form { format!(" id=\"{}-{number}\"", group.len()) } else { String::new() };
            let _ = writeln!(xml, "    <os name=\"{system}\"{id}/>");
        }
        let _ = writeln!(xml, "    <os name=\"{group}, build {}\"/>", 22_000 + edition.number());
        xml.push_str("  </group>\n");
    }
    xml.push_str("</osgroups>\n");
    xml
}

/// A real chart: its first version, its second, and its second with a comment.
pub(super) fn real(chart: &RealChart, edition: &Edition) -> Vec<u8> {
    match edition.number() {
        0 | 1 => chart.first.clone(),
        2 => chart.second.clone(),
        number => {
            let mut bytes = chart.second.clone();
            bytes.extend_from_slice(format!("<!-- edition {number} -->\n").as_bytes());
            bytes
        }
    }
}
