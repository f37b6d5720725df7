import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.TreeMap;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/**
 * Reads a zip with ZipInputStream, front to back as ISE does, and with ZipFile, by its central directory. Prints "SHA-256
 * name" for each member; fails where the two differ. Usage: java ZipList.java ZIP
 */
public class ZipList {
    public static void main(String[] arguments) throws Exception {
        Path path = Path.of(arguments[0]);
        TreeMap<String, String> streamed = new TreeMap<>();
        try (InputStream file = Files.newInputStream(path);
                ZipInputStream zip = new ZipInputStream(file)) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                streamed.put(entry.getName(), sha256(zip));
            }
        }
        TreeMap<String, String> listed = new TreeMap<>();
        try (ZipFile zip = new ZipFile(path.toFile())) {
            for (Enumeration<? extends ZipEntry> entries = zip.entries(); entries.hasMoreElements(); ) {
                ZipEntry entry = entries.nextElement();
                try (InputStream content = zip.getInputStream(entry)) {
                    listed.put(entry.getName(), sha256(content));
                }
            }
        }
        if (!streamed.equals(listed)) {
            throw new IllegalStateException("ZipInputStream reads " + streamed + ", ZipFile " + listed);
        }
        listed.forEach((name, digest) -> System.out.println(digest + " " + name));
    }

    private static String sha256(InputStream content) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        byte[] buffer = new byte[1 << 16];
        for (int count = content.read(buffer); count >= 0; count = content.read(buffer)) {
            digest.update(buffer, 0, count);
        }
        return HexFormat.of().formatHex(digest.digest());
    }
}
