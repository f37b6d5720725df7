import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

/** Reads a zip as ISE does, front to back, and prints "SHA-256 name" for each member. Usage: java ZipList.java ZIP */
public class ZipList {
    public static void main(String[] arguments) throws Exception {
        try (InputStream file = Files.newInputStream(Path.of(arguments[0]));
                ZipInputStream zip = new ZipInputStream(file)) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                byte[] digest = MessageDigest.getInstance("SHA-256").digest(zip.readAllBytes());
                System.out.println(HexFormat.of().formatHex(digest) + " " + entry.getName());
            }
        }
    }
}
