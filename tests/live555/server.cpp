// An RTSP server that owes nothing to GStreamer: live555's own, with the files of a folder at their names.
//
//   live555-server FOLDER
//
// Matroska (H.264, H.265, AAC, ...), MPEG-TS and raw H.264 (.264), over UDP and TCP, on any free port of loopback, which it
// prints. It ends when its standard input does.

#include <BasicUsageEnvironment.hh>
#include <GroupsockHelper.hh>
#include <liveMedia.hh>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct Opened {
    ServerMediaSession *session;
    // The event loop watches it, and returns when it is not 0.
    char done = 0;
};

void matroska_opened(MatroskaFileServerDemux *file, void *data) {
    auto *opened = static_cast<Opened *>(data);
    while (ServerMediaSubsession *track = file->newServerMediaSubsession()) {
        opened->session->addSubsession(track);
    }
    opened->done = 1;
}

void ask_no_more(void *data, int) {
    char byte;
    if (read(STDIN_FILENO, &byte, 1) <= 0) {
        *static_cast<char *>(data) = 1;
    }
}

} // namespace

int main(int count, char **arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: live555-server FOLDER\n");
        return 2;
    }
    TaskScheduler *scheduler = BasicTaskScheduler::createNew();
    UsageEnvironment *env = BasicUsageEnvironment::createNew(*scheduler);
    ReceivingInterfaceAddr = SendingInterfaceAddr = inet_addr("127.0.0.1");
    // A picture of 1080p can be large.
    OutPacketBuffer::maxSize = 4'000'000;
    RTSPServer *server = RTSPServer::createNew(*env, 0);
    if (server == nullptr) {
        std::fprintf(stderr, "%s\n", env->getResultMsg());
        return 1;
    }

    std::vector<std::filesystem::path> files;
    for (const auto &entry : std::filesystem::directory_iterator(arguments[1])) {
        files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const auto &path : files) {
        const std::string name = path.filename(), file = path, ending = path.extension();
        ServerMediaSession *session = ServerMediaSession::createNew(*env, name.c_str());
        if (ending == ".mkv") {
            Opened opened{session};
            MatroskaFileServerDemux::createNew(*env, file.c_str(), matroska_opened, &opened);
            scheduler->doEventLoop(&opened.done);
        } else if (ending == ".ts") {
            session->addSubsession(
                MPEG2TransportFileServerMediaSubsession::createNew(*env, file.c_str(), nullptr, False));
        } else if (ending == ".264") {
            session->addSubsession(H264VideoFileServerMediaSubsession::createNew(*env, file.c_str(), False));
        } else {
            Medium::close(session);
            continue;
        }
        server->addServerMediaSession(session);
    }

    char *prefix = server->rtspURLPrefix();
    const std::string url = prefix;
    delete[] prefix;
    // rtsp://ADDRESS:PORT/
    const auto port = url.substr(url.rfind(':') + 1);
    std::printf("serving on %s\n", port.substr(0, port.find('/')).c_str());
    std::fflush(stdout);

    char ended = 0;
    scheduler->setBackgroundHandling(STDIN_FILENO, SOCKET_READABLE | SOCKET_EXCEPTION, ask_no_more, &ended);
    scheduler->doEventLoop(&ended);
    return 0;
}
