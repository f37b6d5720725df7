import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Scanner;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;

/**
 * Stands in for an ISE node: Java's own HTTP client, TLS 1.2, a trust store with one CA. Reads the index, says so, waits
 * for a line on standard input, then fetches every archive that the index named and prints "SHA-256 name" for each.
 *
 * <p>Usage: java IseNode.java INDEX_URL CA_PEM
 */
public class IseNode {
    private static final Pattern ARCHIVE = Pattern.compile("https://\\S+\\.(tar\\.gz|tgz|gz|zip|xml|tar)");

    public static void main(String[] arguments) throws Exception {
        KeyStore trust = KeyStore.getInstance(KeyStore.getDefaultType());
        trust.load(null);
        try (InputStream pem = Files.newInputStream(Path.of(arguments[1]))) {
            trust.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trust);
        SSLContext context = SSLContext.getInstance("TLSv1.2");
        context.init(null, managers.getTrustManagers(), null);
        SSLParameters parameters = new SSLParameters();
        parameters.setProtocols(new String[] {"TLSv1.2"});
        HttpClient client = HttpClient.newBuilder().sslContext(context).sslParameters(parameters).build();

        byte[] index = get(client, URI.create(arguments[0]));
        List<URI> locators = new ArrayList<>();
        DocumentBuilderFactory documents = DocumentBuilderFactory.newInstance();
        Path copy = Files.createTempFile("index", ".xml");
        Files.write(copy, index);
        collect(documents.newDocumentBuilder().parse(copy.toFile()).getDocumentElement(), locators);
        Files.delete(copy);
        System.out.println("INDEX " + locators.size());
        System.out.flush();

        new Scanner(System.in).nextLine();
        for (URI locator : locators) {
            String name = locator.getPath().substring(locator.getPath().lastIndexOf('/') + 1);
            System.out.println(sha256(get(client, locator)) + " " + name);
        }
    }

    private static void collect(Element element, List<URI> locators) {
        for (int i = 0; i < element.getAttributes().getLength(); i++) {
            add(element.getAttributes().item(i).getNodeValue(), locators);
        }
        NodeList children = element.getChildNodes();
        for (int i = 0; i < children.getLength(); i++) {
            Node child = children.item(i);
            if (child instanceof Element) {
                collect((Element) child, locators);
            } else {
                add(child.getNodeValue(), locators);
            }
        }
    }

    private static void add(String value, List<URI> locators) {
        if (value != null && ARCHIVE.matcher(value.trim()).matches()) {
            locators.add(URI.create(value.trim()));
        }
    }

    private static byte[] get(HttpClient client, URI uri) throws Exception {
        HttpResponse<byte[]> response =
                client.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofByteArray());
        if (response.statusCode() != 200) {
            throw new IllegalStateException(uri + " answered " + response.statusCode());
        }
        return response.body();
    }

    private static String sha256(byte[] bytes) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }
}
